"""Weight-only int8: the bytes that it takes, and the words that name it as the remedy for a model that is too large."""

from __future__ import annotations

from typing import Final

from engine.core.models import Footprint
from engine.core.sizes import format_size

SCALE_BYTES: Final = 2
"""Of a row of a matrix: one float16."""


def matrix_bytes(rows: int, columns: int) -> int:
    """A matrix in int8: a byte a weight and a scale a row, a row being what makes one output."""
    return rows * (columns + SCALE_BYTES)


def int8_would_fit(in_int8: Footprint | None, budget_bytes: int) -> str:
    """That a model which is larger than the budget would fit it in int8; empty where it wouldn't, or is in int8 already."""
    if in_int8 is None or in_int8.total_bytes > budget_bytes:
        return ""
    return f'with "dtype": "int8" it would need {format_size(in_int8.total_bytes)} and fit'
