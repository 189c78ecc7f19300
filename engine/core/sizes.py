"""Byte sizes: the units, reading them from configuration and writing them for people."""

from __future__ import annotations

import re
from typing import Final

from engine.core.texts import quoted

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
MB: Final = 10**6
GB: Final = 10**9

TIB: Final = 1 << 40
MOST_BYTES: Final = 1024 * TIB

_UNITS: Final = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
_DECIMAL: Final = re.compile(r"(\d+(?:\.\d+)?) ?([MG])B")
_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]iB|B)\s*")


def parse_size(text: str) -> int:
    """Bytes in `text`, such as "6GiB", "512 MiB" or "1.5GiB".

    Raises ValueError when the text is not a number followed by one of B, KiB, MiB, GiB, TiB.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{quoted(text)} is not a size; write a number and a unit, such as 6GiB or 512MiB")
    return _whole(text, float(match[1]) * _UNITS[match[2]])


def parse_bytes(text: str) -> int:
    """Bytes in `text`: decimal as in "4.8GB" or binary as in "6GiB". Raises ValueError with what to write."""
    if found := _DECIMAL.fullmatch(text.strip()):
        return _whole(text, round(float(found[1]) * (GB if found[2] == "G" else MB), 0))
    try:
        return parse_size(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not a size; write a number and a unit, such as 4.8GB or 6GiB") from None


def _whole(text: str, size_bytes: float) -> int:
    if size_bytes >= MOST_BYTES:
        raise ValueError(
            f"{quoted(text)} is more than any memory or disk has; at most {MOST_BYTES // TIB} TiB can be meant"
        )
    return int(size_bytes)


def mib(size_bytes: int) -> int:
    """Whole mebibytes of what is taken or needed, rounded up, so that a size shown never understates it."""
    return -(-size_bytes // MIB)


def room_mib(room_bytes: int) -> int:
    """Whole mebibytes of what may be taken - a total, a budget, what is free -, rounded down, so that no room is promised that
    is not there."""
    return room_bytes // MIB


def mib_range(least_bytes: int, most_bytes: int) -> str:
    """Two sizes that belong together: "380–412 MiB", or "412 MiB" when they show alike."""
    least, most = mib(least_bytes), mib(most_bytes)
    return f"{most} MiB" if least == most else f"{least}–{most} MiB"


def format_size(size_bytes: int) -> str:
    """A size for a sentence, rounded up as `mib` does: "438 MiB", "5.6 GiB", "24 GiB"."""
    return f"{mib(size_bytes)} MiB" if size_bytes < GIB else _gib(-(-10 * size_bytes // GIB))


def format_room(room_bytes: int) -> str:
    """Room for a sentence, rounded down as `room_mib` does: no refusal says that as much is free as is needed."""
    return f"{room_mib(room_bytes)} MiB" if room_bytes < GIB else _gib(10 * room_bytes // GIB)


def _gib(tenths: int) -> str:
    return f"{tenths // 10} GiB" if tenths >= 100 and tenths % 10 == 0 else f"{tenths // 10}.{tenths % 10} GiB"
