"""A plan or a refusal in words: what would happen, how long it takes, why so, and what else was weighed."""

from __future__ import annotations

from typing import assert_never

from citadel_tui.text import clean
from citadel_tui.words.figures import range_text, uses_text
from citadel_tui.words.labels import FROM, Label
from engine.core.commands import Batch
from engine.core.plans import Alternative, Blocker, EvictStep, LoadStep, PinStep, Plan, Refusal, Room, Step, UnpinStep
from engine.core.proposals import Gain, Proposal
from engine.core.sizes import format_size


def plan_text(plan: Plan, label: Label) -> str:
    lines = [_step(step, label) for step in plan.steps] or ["nothing to do"]
    if plan.predicted.p90_s:
        lines.append(f"predicted: {range_text(plan.predicted.p50_s, plan.predicted.p90_s)}")
    if plan.steps:
        victims = ", ".join(f"{label(victim.model)} ({victim.device})" for victim in plan.victims)
        lines.append(f"victims: {victims or 'none'}")
    lines += [f"because {reason}" for reason in plan.reasons]
    lines += [_alternative(alternative, label) for alternative in plan.alternatives]
    return "\n".join(clean(line) for line in lines)


def proposal_text(proposal: Proposal, label: Label) -> str:
    """What is proposed, the worth of each part of it, and the whole plan."""
    gains = [_gain(gain, label) for gain in proposal.gains]
    said = [clean(line) for line in (*gains, *proposal.reasons)]
    return "\n".join([*said, plan_text(proposal.plan, label)])


def refusal_text(refusal: Refusal, label: Label) -> str:
    lines = [f"refused: {refusal.reason}"]
    if refusal.needed_bytes and not isinstance(refusal.command, Batch):
        lines.append(f"  {label(refusal.command.model)} needs {format_size(refusal.needed_bytes)}")
    lines += [room_text(room) for room in refusal.rooms]
    lines += [_blocker(blocker, label) for blocker in refusal.blockers]
    lines += [f"  try: {advice}" for advice in refusal.advice]
    return "\n".join(clean(line) for line in lines)


def deeds(plan: Plan, label: Label) -> str:
    """The plan's steps in one line, once they are done."""
    return clean("; ".join(_deed(step, label) for step in plan.steps))


def _step(step: Step, label: Label) -> str:
    match step:
        case EvictStep():
            why = "to make room" if step.victim else "as asked"
            back = "; its weights go back to the RAM tier" if step.written_back else ""
            return f"{_deed(step, label)} ({format_size(step.size_bytes)}), {why}{uses_text(step.leases)}{back}"
        case LoadStep():
            return f"{_deed(step, label)} ({format_size(step.size_bytes)}) {FROM[step.tier]}"
        case PinStep() | UnpinStep():
            return _deed(step, label)
        case _:
            assert_never(step)


def _deed(step: Step, label: Label) -> str:
    name = label(step.model)
    match step:
        case EvictStep(device=device):
            return f"evict {name} from {device}"
        case LoadStep(device=device):
            return f"load {name} on {device}"
        case PinStep(device=where):
            return f"pin {name}" + (f" on {where}" if where else "")
        case UnpinStep():
            return f"unpin {name}"
        case _:
            assert_never(step)


def _gain(gain: Gain, label: Label) -> str:
    way = f"{gain.source or 'memory'} to {gain.target or 'memory'}"
    worth = (
        f"saves {gain.gain_s:.2f} s of reloading" if gain.gain_s >= 0 else f"loses {-gain.gain_s:.2f} s of reloading"
    )
    return f"{label(gain.model)}: {way}, {worth}, takes {gain.cost_s:.2f} s; {gain.why}"


def _alternative(other: Alternative, label: Label) -> str:
    leaving = f" without {', '.join(map(label, other.victims))}" if other.victims else ""
    return f"not {other.device}{leaving}: {other.why_not} (cost {other.cost_s:.2f} s)"


def room_text(room: Room) -> str:
    """What a device had, in a line."""
    note = f"; {room.note}" if room.note else ""
    return f"  {room.device}: {format_size(room.free_bytes)} free of {format_size(room.budget_bytes)}{note}"


def _blocker(blocker: Blocker, label: Label) -> str:
    return (
        f"  in the way: {label(blocker.model)} on {blocker.device} ({format_size(blocker.size_bytes)}), {blocker.why}"
    )
