"""Vectors as a worker sends them, turned into what the API hands out."""

from __future__ import annotations

from array import array
from sys import byteorder


def rows(data: bytes, dimensions: int) -> list[list[float]]:
    """The rows of a row-major little-endian float32 matrix with `dimensions` columns."""
    figures = array("f", data)
    if byteorder == "big":
        figures.byteswap()
    return [figures[start : start + dimensions].tolist() for start in range(0, len(figures), dimensions)]
