"""A model's row of the table as one line of plain text, for the clipboard."""

from __future__ import annotations

from citadel_tui.viewmodel.dashboard.rows import ModelRow
from citadel_tui.words.figures import count_text, idle_text, seconds_text
from citadel_tui.words.labels import model_label


def row_text(row: ModelRow) -> str:
    """Its figures, each with its name or unit."""
    facts = [
        f"{model_label(row.name, synthetic=row.synthetic)}: {row.where}, {row.state}",
        f"{row.size_mib} MiB",
        "pinned" if row.pin else "",
        count_text(row.leases, "lease", "leases"),
        f"{row.per_minute:.1f} requests a minute",
        "" if row.idle_s is None else f"idle {idle_text(row.idle_s)}",
        "" if row.last_switch_s is None else f"last switch {seconds_text(row.last_switch_s)}",
    ]
    return ", ".join(filter(None, facts))
