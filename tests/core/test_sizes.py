"""Sizes as text: what is taken rounds up, room rounds down, so that what does not fit never reads as if it did."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.sizes import GIB, MIB, MOST_BYTES, format_room, format_size, mib, room_mib


@pytest.mark.parametrize(
    ("size_bytes", "taken", "room"),
    [
        (0, "0 MiB", "0 MiB"),
        (78 * MIB + 1, "79 MiB", "78 MiB"),
        (5 * GIB, "5.0 GiB", "5.0 GiB"),
        (5 * GIB + 1, "5.1 GiB", "5.0 GiB"),
        (24 * GIB, "24 GiB", "24 GiB"),
        (24 * GIB - 1, "24 GiB", "23.9 GiB"),
    ],
)
def test_what_is_taken_rounds_up_and_room_rounds_down(size_bytes: int, taken: str, room: str) -> None:
    assert (format_size(size_bytes), format_room(size_bytes)) == (taken, room)


@given(st.integers(0, MOST_BYTES), st.integers(0, MOST_BYTES))
def test_what_does_not_fit_never_reads_as_if_it_did(needed: int, free: int) -> None:
    if needed <= free:
        needed, free = free + 1, needed
    assert mib(needed) > room_mib(free)
    assert _bytes(format_size(needed)) >= needed > free >= _bytes(format_room(free))


def _bytes(text: str) -> Fraction:
    number, unit = text.split()
    return Fraction(number) * {"MiB": MIB, "GiB": GIB}[unit]
