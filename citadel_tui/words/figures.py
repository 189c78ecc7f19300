"""Figures for people: sizes in MiB, shares, times, and a dash for what is not known."""

from __future__ import annotations

from engine.core.latency import Prediction
from engine.core.sizes import mib


def mib_text(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else str(mib(size_bytes))


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0f} %"


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else duration(value)


def duration(value: float) -> str:
    """In the two largest units that matter: 45s, 3m20s, 2h05m, 4d03h."""
    whole = max(int(value), 0)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def predicted_range(prediction: Prediction) -> str:
    return f"{prediction.p50_s:.2f} s, at worst about {prediction.p90_s:.2f} s"
