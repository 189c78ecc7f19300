"""Progress in steps worth telling."""

from __future__ import annotations

from collections.abc import Callable


def in_hundredths(tell: Callable[[float], None]) -> Callable[[float], None]:
    """`tell`, called with a share of 1 only when that has grown by a hundredth, or is whole."""
    told = 0.0

    def tell_rarely(done: float) -> None:
        nonlocal told
        if done - told >= 0.01 or done >= 1.0:
            told = done
            tell(done)

    return tell_rarely
