"""Why a model is where it is, or isn't: the recorded decisions that touched it, and the part that it had in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, assert_never

from msgspec import Struct

from engine.core.commands import models_of
from engine.core.forecast.costs import tier_of
from engine.core.models import Pin
from engine.core.names import ModelName, is_cpu
from engine.core.plans import EvictStep, LoadStep, PinStep, Plan, Step, Tier, UnpinStep
from engine.core.records import Entry, Notice, Pinned, Record, Refused, Switch
from engine.core.state import Demand, Resident, State

Part: TypeAlias = Literal["came", "victim", "taken off", "pinned", "refused", "in the way", "spared"]
"""What the decision was for the model. `victim`: it left for another. `spared`: it would have left had another device been
chosen. `in the way`: another was refused because it could not leave."""

_CHANGES_PLACE: Final[tuple[Part, ...]] = ("came", "victim", "taken off")
_SHOWN_NOTICES: Final = 3


class Decision(Struct, frozen=True):
    """A record that touched the model."""

    seq: int
    part: Part
    entry: Switch | Refused | Pinned

    @property
    def moved(self) -> bool:
        """Whether it changed where the model is."""
        return isinstance(self.entry, Switch) and self.entry.outcome == "done" and self.part in _CHANGES_PLACE


class Explanation(Struct, frozen=True):
    """Where a model is, and how it came to be there."""

    model: ModelName
    residents: tuple[Resident, ...]
    tier: Tier
    """Where a load of it would start from now."""
    pin: Pin | None
    demand: Demand
    last: Decision | None
    """The newest decision that touched it; None when no record that is kept did."""
    placed: Decision | None
    """The newest that changed where it is, if that is another one."""
    since: tuple[Notice, ...]
    """What happened since, without a command, to it or to the device that it came to; newest last."""


def explain(state: State, records: Sequence[Record], model: ModelName) -> Explanation:
    """How `model`, which the catalog has, came to be where it is, as far as `records`, oldest first, can tell."""
    newest_first = (d for record in reversed(records) if (d := _decision(record, model)))
    last = next(newest_first, None)
    placed = last if last is None or last.moved else next((d for d in newest_first if d.moved), None)
    known = state.models[model]
    return Explanation(
        model=model,
        residents=state.of(model),
        tier=tier_of(state, model),
        pin=known.pin,
        demand=known.demand,
        last=last,
        placed=placed if placed is not last else None,
        since=_since(records, placed, model),
    )


def why_on_cpu(records: Sequence[Record], model: ModelName) -> str:
    """Why the model fell back to the CPU, by the newest record of how it came there; empty where an operator had it so, and where
    no record that is kept tells."""
    for record in reversed(records):
        entry = record.entry
        if not isinstance(entry, Switch) or entry.outcome != "done":
            continue
        if any(load.model == model for load in entry.plan.loads):
            fell_back = entry.origin != "operator" and any(is_cpu(load.device) for load in entry.plan.loads)
            return "; ".join(entry.plan.reasons) if fell_back else ""
    return ""


def _decision(record: Record, model: ModelName) -> Decision | None:
    entry = record.entry
    part = _part(entry, model)
    if part is None or not isinstance(entry, Switch | Refused | Pinned):
        return None
    return Decision(record.seq, part, entry)


def _part(entry: Entry, model: ModelName) -> Part | None:
    if isinstance(entry, Switch | Pinned):
        return _part_in_plan(entry.plan, model)
    if isinstance(entry, Refused):
        if any(blocker.model == model for blocker in entry.refusal.blockers):
            return "in the way"
        return "refused" if model in models_of(entry.refusal.command) else None
    return None


def _part_in_plan(plan: Plan, model: ModelName) -> Part | None:
    parts = {_part_in_step(step) for step in plan.steps if step.model == model}
    for part in ("came", "victim", "taken off", "pinned"):
        if part in parts:
            return part
    return "spared" if any(model in other.victims for other in plan.alternatives) else None


def _part_in_step(step: Step) -> Part:
    match step:
        case LoadStep():
            return "came"
        case EvictStep(victim=victim):
            return "victim" if victim else "taken off"
        case PinStep() | UnpinStep():
            return "pinned"
        case _:
            assert_never(step)


def _since(records: Sequence[Record], placed: Decision | None, model: ModelName) -> tuple[Notice, ...]:
    if placed is None or not isinstance(placed.entry, Switch):
        return ()
    came_to = {load.device for load in placed.entry.plan.loads if load.model == model}
    later = (record.entry for record in records if record.seq > placed.seq)
    about = [n for n in later if isinstance(n, Notice) and (n.model == model or n.device in came_to)]
    return tuple(about[-_SHOWN_NOTICES:])
