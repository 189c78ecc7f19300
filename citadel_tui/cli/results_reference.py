"""The section of the results document on the reference box, whose figures are calculated and not measured."""

from __future__ import annotations

from citadel_tui.cli.markdown import rows
from engine.core.insight.reference_box import (
    BUDGET_BYTES,
    BUS_BYTES_PER_S,
    DISK_BYTES_PER_S,
    SWITCH_TARGET_S,
    ReferenceRow,
    reference_table,
)


def reference() -> str:
    about = (
        f"Calculated, not measured: bytes over a bus of {BUS_BYTES_PER_S / 1e9:g} GB/s (PCIe 3.0, 4 lanes) and a disk of "
        f"{DISK_BYTES_PER_S / 1e9:g} GB/s; two cards with budgets of {BUDGET_BYTES / 1e9:g} GB. A switch is to take under "
        f"{SWITCH_TARGET_S:g} s."
    )
    headings = (
        "model",
        "dtype",
        "weights, GB",
        "from RAM, s",
        "from disk, s",
        "fits a card",
        f"under {SWITCH_TARGET_S:g} s",
    )
    return f"{about}\n\n{rows(headings, map(_cells, reference_table()))}"


def _cells(row: ReferenceRow) -> tuple[str, ...]:
    met = {"nothing": "yes, from disk too", "RAM tier": "from the RAM tier", "smaller dtype": "no"}[row.needs]
    return (
        row.model,
        row.dtype if row.is_supported else f"{row.dtype} (bytes only; not supported)",
        f"{row.weights_bytes / 1e9:.2f}",
        f"{row.from_ram_s:.2f}",
        f"{row.from_disk_s:.2f}",
        "yes" if row.fits else "no",
        met,
    )
