"""Which models were put on the CPU, and whether because no GPU had room or because somebody asked for it."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from engine.core.names import CPU, ModelName
from engine.core.records import Switch


class Fallbacks(Struct, frozen=True):
    """Loads of one model on the CPU. What a restarted engine only brought back is not counted."""

    model: ModelName
    by_itself: int
    """A request needed the model, and no GPU had room."""
    asked_for: int
    failed: int


def fallbacks(switches: Iterable[Switch]) -> tuple[Fallbacks, ...]:
    """By model; those that were never put there are left out."""
    to_cpu: dict[ModelName, list[Switch]] = {}
    for switch in switches:
        for load in switch.plan.loads if switch.origin != "restore" else ():
            if load.device == CPU:
                to_cpu.setdefault(load.model, []).append(switch)
    return tuple(_counted(model, to_cpu[model]) for model in sorted(to_cpu))


def _counted(model: ModelName, switches: Iterable[Switch]) -> Fallbacks:
    ends = [(switch.outcome, switch.origin == "request") for switch in switches]
    return Fallbacks(
        model,
        by_itself=ends.count(("done", True)),
        asked_for=ends.count(("done", False)),
        failed=sum(outcome == "failed" for outcome, _ in ends),
    )
