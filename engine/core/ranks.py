"""What so many of a hundred values do not exceed: a value that was there, and never too low a one."""

from __future__ import annotations

import math
from collections.abc import Sequence


def nearest_rank(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them, over 0 to 1, do not exceed. Raises ValueError without one."""
    if not values:
        raise ValueError("no values, no rank")
    return sorted(values)[math.ceil(share * len(values)) - 1]
