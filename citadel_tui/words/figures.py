"""Figures for tables: sizes in MiB and shares, and a dash for what is not known."""

from __future__ import annotations

from engine.core.sizes import mib


def mib_text(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else str(mib(size_bytes))


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0f} %"
