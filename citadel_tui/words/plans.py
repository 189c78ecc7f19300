"""What a plan, a proposal or a refusal says, part by part: the steps, how long they take, who is in the way, what is gained.

These are the only words for it. Commands print the parts as lines (`plan_text` and its like, which is also what is copied);
the console's pages set the same parts in columns (`viewmodel/pages/plan.py`). A `Label` says how models are called in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, assert_never

from msgspec import Struct
from msgspec.structs import replace

from citadel_tui.text import clean
from citadel_tui.words.figures import range_text, running_text, seconds_text
from citadel_tui.words.labels import FROM, Label
from engine.api import Cancelled, Failed
from engine.core.commands import Batch, Command, command_text
from engine.core.forecast.costs import reload_s
from engine.core.names import DeviceId
from engine.core.plans import (
    Alternative,
    Blocker,
    BlockerWhy,
    EvictStep,
    LoadStep,
    PinStep,
    Plan,
    Refusal,
    Room,
    Step,
    UnpinStep,
)
from engine.core.proposals import Gain, Proposal
from engine.core.sizes import format_room, format_size
from engine.core.state import State

IN_THE_WAY: Final[dict[BlockerWhy, str]] = {
    "pinned": "pinned",
    "leased": "running a request",
    "loading": "being loaded",
    "leaving": "leaving already",
    "too young": "came only just now",
    "came since": "came there since",
}
"""Why a model may not leave."""


class StepWords(Struct, frozen=True):
    """One step of a plan."""

    what: str
    """In capitals where a model has to leave for another, or loses its pin: what nobody named is not to be overlooked."""
    model: str
    where: str
    size: str
    how: str
    """What it waits for, and where the bytes come from or go to."""


class PlanWords(Struct, frozen=True):
    """A plan. Empty texts are for what there is nothing to say of."""

    steps: tuple[StepWords, ...]
    takes: str
    """How long, and what must end first."""
    sooner: str
    """Which runs could be ended instead of being waited for."""
    reasons: tuple[str, ...]
    alternatives: tuple[str, ...]
    """What else was weighed, and why it lost."""


class GainWords(Struct, frozen=True):
    """What a proposal does with one model, and what that is worth."""

    model: str
    source: str
    target: str
    gains: str
    costs: str
    why: str


class ProposalWords(Struct, frozen=True):
    gains: tuple[GainWords, ...]
    plan: PlanWords
    """How that would be done; its reasons begin with those for the whole."""


class RoomWords(Struct, frozen=True):
    """What a device has."""

    device: str
    free: str
    of: str
    short: str
    """How much it lacks; empty where that is not what keeps it out."""
    note: str
    """Why the device was out of the question, if it was."""


class BlockerWords(Struct, frozen=True):
    """Who is in the way, and why it stays."""

    model: str
    device: str
    size: str
    why: str


class RefusalWords(Struct, frozen=True):
    reason: str
    needed: str
    rooms: tuple[RoomWords, ...]
    blockers: tuple[BlockerWords, ...]
    advice: tuple[str, ...]


# ── the parts ────────────────────────────────────────────────────────────────────────────────────


def plan_words(plan: Plan, label: Label) -> PlanWords:
    return PlanWords(
        tuple(_step(step, label) for step in plan.steps),
        _takes(plan),
        _sooner(plan, label),
        tuple(dict.fromkeys(plan.reasons)),
        tuple(_alternative(alternative, label) for alternative in plan.alternatives),
    )


def proposal_words(proposal: Proposal, label: Label) -> ProposalWords:
    reasons = (*proposal.reasons, *proposal.plan.reasons)
    gains = tuple(_gain(gain, label) for gain in proposal.gains)
    return ProposalWords(gains, plan_words(replace(proposal.plan, reasons=reasons), label))


def refusal_words(refusal: Refusal, label: Label) -> RefusalWords:
    return RefusalWords(
        refusal.reason,
        f"{format_size(refusal.needed_bytes)} needed" if refusal.needed_bytes else "",
        tuple(room_words(room, refusal.needed_bytes) for room in refusal.rooms),
        tuple(_blocker(blocker, label) for blocker in refusal.blockers),
        refusal.advice,
    )


def room_words(room: Room, needed_bytes: int = 0) -> RoomWords:
    """What a device has, and how much it is short of `needed_bytes`."""
    short_bytes = needed_bytes - room.free_bytes
    return RoomWords(
        room.device,
        format_room(room.free_bytes),
        f"free of a budget of {format_room(room.budget_bytes)}",
        f"{format_size(short_bytes)} short" if needed_bytes and short_bytes > 0 and not room.note else "",
        room.note,
    )


def _step(step: Step, label: Label) -> StepWords:
    name = label(step.model)
    match step:
        case EvictStep():
            what = "LEAVES" if step.victim else "leaves"
            wait = f"{'ends' if step.at_once else 'after'} {running_text(step.leases)}" if step.leases else ""
            back = "back to the RAM tier" if step.written_back else ""
            how = ", ".join(filter(None, (wait, back)))
            return StepWords(what, name, f"from {step.device}", format_size(step.size_bytes), how)
        case LoadStep():
            what, stays = ("adds", f", stays on {' and '.join(step.stays)}") if step.stays else ("loads", "")
            return StepWords(what, name, f"on {step.device}", format_size(step.size_bytes), FROM[step.tier] + stays)
        case PinStep():
            return StepWords("pins", name, f"on {step.device}" if step.device else "", "", "")
        case UnpinStep():
            return StepWords("UNPINS", name, "", "", "")
        case _:
            assert_never(step)


def _takes(plan: Plan) -> str:
    if not any(isinstance(step, EvictStep | LoadStep) for step in plan.steps):
        return ""
    takes = range_text(plan.predicted.p50_s, plan.predicted.p90_s)
    if not plan.may_end_runs:
        return takes
    drains = f" in {range_text(plan.drains.p50_s, plan.drains.p90_s)}" if plan.drains.p90_s else ""
    return f"{takes}, once the running requests have ended{drains}"


def _sooner(plan: Plan, label: Label) -> str:
    waits = [step for step in plan.steps if isinstance(step, EvictStep) and step.leases and not step.at_once]
    runs = " and ".join(f"{running_text(step.leases)} of {label(step.model)}" for step in waits)
    return f"ends {runs} at once" if runs else ""


def _alternative(other: Alternative, label: Label) -> str:
    leaving = f", {', '.join(map(label, other.victims))} leaving" if other.victims else ""
    return f"{other.device}{leaving}: {range_text(other.predicted.p50_s, other.predicted.p90_s)}; {other.why_not}"


def _gain(gain: Gain, label: Label) -> GainWords:
    return GainWords(
        label(gain.model),
        gain.source or "no device",
        gain.target or "no device",
        _signed(gain.gain_s),
        seconds_text(gain.cost_s),
        gain.why,
    )


def _signed(seconds: float) -> str:
    # Anything nearer to zero is read as "<0.01 s", which has no sign.
    return seconds_text(seconds) if seconds > -0.005 else f"-{seconds_text(-seconds)}"


def _blocker(blocker: Blocker, label: Label) -> BlockerWords:
    return BlockerWords(label(blocker.model), blocker.device, format_size(blocker.size_bytes), IN_THE_WAY[blocker.why])


# ── the parts as lines ───────────────────────────────────────────────────────────────────────────


def plan_text(plan: Plan, label: Label) -> str:
    return _together(_plan_lines(plan_words(plan, label)))


def proposal_text(proposal: Proposal, label: Label) -> str:
    """The worth of each part, and the plan."""
    words = proposal_words(proposal, label)
    return _together([*map(_gain_line, words.gains), *_plan_lines(words.plan)])


def refusal_text(refusal: Refusal, label: Label) -> str:
    words = refusal_words(refusal, label)
    return _together(
        [
            f"refused: {words.reason}",
            *([f"  {words.needed}"] if words.needed else []),
            *map(room_line, words.rooms),
            *(f"  in the way: {b.model} on {b.device} ({b.size}), {b.why}" for b in words.blockers),
            *(f"  try: {advice}" for advice in words.advice),
        ]
    )


def room_line(room: RoomWords) -> str:
    short = f", {room.short}" if room.short else ""
    note = f"; {room.note}" if room.note else ""
    return f"  {room.device}: {room.free} {room.of}{short}{note}"


def _plan_lines(words: PlanWords) -> list[str]:
    return [
        *(map(_step_line, words.steps) if words.steps else ["nothing to do"]),
        *([f"takes {words.takes}"] if words.takes else []),
        *([f"or, with --now, {words.sooner}"] if words.sooner else []),
        *(f"because {reason}" for reason in words.reasons),
        *(f"instead: {alternative}" for alternative in words.alternatives),
    ]


def _step_line(step: StepWords) -> str:
    size = f"({step.size})" if step.size else ""
    line = " ".join(filter(None, (step.what, step.model, step.where, size)))
    return f"{line}, {step.how}" if step.how else line


def _gain_line(gain: GainWords) -> str:
    why = f"; {gain.why}" if gain.why else ""
    return f"{gain.model}: {gain.source} → {gain.target}, gains {gain.gains}, costs {gain.costs}{why}"


def _together(lines: Iterable[str]) -> str:
    return "\n".join(clean(line) for line in lines)


# ── what was asked for, and what was done ────────────────────────────────────────────────────────


def asked_text(command: Command, label: Label) -> str:
    """What the command asks for: "load bge-base (synthetic) on gpu0"; a batch's own title."""
    named = command if isinstance(command, Batch) else replace(command, model=label(command.model))
    return clean(command_text(named))


def refused_text(refusal: Refusal, label: Label) -> str:
    """In one line, for a log: what was asked for, and why it could not be done."""
    return clean(f"refused: {asked_text(refusal.command, label)}: {refusal.reason}")


def done_text(plan: Plan, label: Label) -> str:
    """The plan's steps in one line, once they are done, or why there were none; a batch's behind its title."""
    done = "; ".join(_deed(step, label) for step in plan.steps) or "; ".join(plan.reasons)
    return clean(f"{plan.command.title}: {done}" if isinstance(plan.command, Batch) else done)


def restart_words(state: State, device: DeviceId, label: Label) -> tuple[str, ...]:
    """What another worker for the device means for whatever is there; nothing where nobody would notice."""
    there = state.on(device)
    runs = sum(resident.leases for resident in there)
    stays = tuple(r for r in there if r.stage in ("ready", "draining"))
    back = (f"{label(r.model)} leaves {device} and is loaded again: {seconds_text(reload_s(state, r))}" for r in stays)
    anew = (f"the load of {label(r.model)} begins anew" for r in there if r.stage == "loading")
    ended = (f"{running_text(runs)} there: ended, and tried once more",) if runs else ()
    return (*ended, *back, *anew)


def ending_text(answer: Failed | Cancelled) -> str:
    """How a command ended that was not carried out."""
    match answer:
        case Failed(reason=reason, holds=True):
            return clean(f"done, but not for good: {reason}")
        case Failed(reason=reason, partly=True):
            return clean(f"done in part: {reason}")
        case Failed(reason=reason):
            return clean(f"failed, everything is as it was: {reason}")
        case Cancelled(reason=reason):
            return clean(f"taken back: {reason}")
        case _:
            assert_never(answer)


def _deed(step: Step, label: Label) -> str:
    name = label(step.model)
    match step:
        case EvictStep(device=device):
            return f"evict {name} from {device}"
        case LoadStep(device=device, stays=stays):
            return f"load {name}{' also' if stays else ''} on {device}"
        case PinStep(device=where):
            return f"pin {name}" + (f" on {where}" if where else "")
        case UnpinStep():
            return f"unpin {name}"
        case _:
            assert_never(step)
