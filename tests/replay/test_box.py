"""What a table of sizes may look like, what is said of one that doesn't, and which models a box can hold."""

from __future__ import annotations

import pytest

from engine.core.sizes import GB, parse_bytes
from engine.recording.trace import TraceError
from engine.replay.box import CYCLE_BYTES, Box, cycled_sizes, read_sizes, starting_state


def test_sizes_are_given_in_turn_by_name() -> None:
    sizes = cycled_sizes(f"m{rank:02}" for rank in range(10))

    assert (sizes["m00"], sizes["m07"], sizes["m08"]) == (CYCLE_BYTES[0], CYCLE_BYTES[7], CYCLE_BYTES[0])


def test_sizes_are_read_from_a_file_in_decimal_and_binary_units() -> None:
    assert read_sizes(["model,size", "a,1.5GB", "", "b, 2GiB", "other,1GB"], {"b", "a"}) == {
        "a": 1.5 * GB,
        "b": 2 << 30,
    }


def test_a_bad_size_is_refused_with_its_line_and_a_missing_one_by_name() -> None:
    with pytest.raises(TraceError, match=r"line 2: 'big' is not a size; write a number and a unit, such as 4\.8GB"):
        read_sizes(["a,1GB", "b,big"], {"a", "b"})
    with pytest.raises(TraceError, match="line 1: a has no bytes"):
        read_sizes(["a,0GB"], {"a"})
    with pytest.raises(TraceError, match="no size is given for b, c"):
        read_sizes(["a,1GB"], {"a", "b", "c"})


def test_a_size_without_a_unit_is_no_size() -> None:
    with pytest.raises(ValueError, match="'4800' is not a size"):
        parse_bytes("4800")


def test_a_model_that_no_gpu_can_hold_is_refused() -> None:
    with pytest.raises(TraceError, match=r"big takes 5\.00 GB and the largest GPU of the box 4\.80 GB"):
        starting_state(Box(), {"big": 5 * GB})
