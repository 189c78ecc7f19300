"""What to tell the operator of a catalog that fits its devices but can't be switched in time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from engine.core.forecast.costs import load_time
from engine.core.ledger import budget
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import Tier
from engine.core.insight.reference_box import SWITCH_TARGET_S
from engine.core.sizes import format_size
from engine.core.state import ModelState, State


def slow_switches(state: State) -> Iterator[str]:
    """Each model whose switch from disk is predicted to miss the target even on the quickest GPU that can hold it, and what
    helps: a RAM tier with room for it, or fewer bytes."""
    for model in state.models.values():
        name, weights_bytes = model.spec.name, model.footprint.weights_bytes
        gpus = _possible_gpus(state, model)
        if not gpus:
            continue
        from_ram_s, from_disk_s = (_quickest_s(state, name, gpus, tier) for tier in ("ram", "disk"))
        if from_ram_s >= SWITCH_TARGET_S:
            yield (
                f"{name} takes about {from_ram_s:.1f} s to a GPU even from the RAM tier, more than the"
                f" {SWITCH_TARGET_S:g} s that a switch is to take. Pin it where it is, or give it a smaller"
                f" dtype{_in_int8(state, model, gpus)}."
            )
        elif from_disk_s >= SWITCH_TARGET_S:
            yield (
                f"{name} takes about {from_disk_s:.1f} s to a GPU from disk, more than the {SWITCH_TARGET_S:g} s that a"
                f" switch is to take; from the RAM tier about {from_ram_s:.1f} s. {_ram_tier(state, weights_bytes)}"
            )


def _in_int8(state: State, model: ModelState, gpus: Iterable[DeviceId]) -> str:
    """How long it would take then, where that is in time."""
    if model.in_int8 is None:
        return ""
    smaller = replace(state, models={**state.models, model.spec.name: replace(model, footprint=model.in_int8)})
    takes_s = _quickest_s(smaller, model.spec.name, gpus, "ram")
    return f": in int8 about {takes_s:.1f} s" if takes_s < SWITCH_TARGET_S else ""


def _possible_gpus(state: State, model: ModelState) -> tuple[DeviceId, ...]:
    """Those that can hold it; none when its sizes are not known."""
    if model.trouble:
        return ()
    return tuple(d for d in state.devices if d != CPU and model.footprint.total_bytes <= budget(state, d))


def _quickest_s(state: State, model: ModelName, gpus: Iterable[DeviceId], tier: Tier) -> float:
    return min(load_time(state, model, device, tier).p50_s for device in gpus)


def _ram_tier(state: State, weights_bytes: int) -> str:
    has, needs = format_size(state.ram.budget_bytes), format_size(weights_bytes)
    if weights_bytes <= state.ram.budget_bytes:
        return f"The RAM tier of {has} has room for its {needs}: prepare and load it before it is needed."
    return f"The RAM tier of {has} has no room for its {needs}: raise ram_tier.budget."
