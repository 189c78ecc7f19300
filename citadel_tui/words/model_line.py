"""A model's row of the table as one line of text, and the command that would bring it to where it is."""

from __future__ import annotations

from citadel_tui.viewmodel.models import ModelRow
from citadel_tui.words.figures import idle_text, seconds_text
from engine.core.commands import Command, ForceCpu, Load
from engine.core.names import CPU, ModelName
from engine.core.state import State


def model_line(row: ModelRow) -> str:
    """Its figures, each with its name or unit."""
    kind = " (synthetic)" if row.synthetic else ""
    facts = [
        f"{row.name}{kind}: {row.where}, {row.state}",
        f"{row.size_mib} MiB",
        "pinned" if row.pin else "",
        f"{row.leases} leases",
        f"{row.per_minute:.1f} requests a minute",
        "" if row.idle_s is None else f"idle {idle_text(row.idle_s)}",
        "" if row.last_switch_s is None else f"last switch {seconds_text(row.last_switch_s)}",
    ]
    return ", ".join(filter(None, facts))


def placing(state: State, model: ModelName) -> Command:
    """What would bring `model` to where it is; a load on the best device when it is on none."""
    pin = state.models[model].pin
    if pin is not None and pin.device == CPU:
        return ForceCpu(model)
    device = next((resident.device for resident in state.of(model)), None)
    return Load(model, device)
