"""The journal in words: a record in a line (when, what, how long, and where the time went), and how a model came to be where
it is: what decided it, what was weighed, and what came of it."""

from __future__ import annotations

import time
from typing import Final, assert_never

from citadel_tui.text import clean
from citadel_tui.words.boxes import UNHEARD
from citadel_tui.words.figures import age_text, count_text, range_text, seconds_text
from citadel_tui.words.labels import ASKED_BY, Label
from citadel_tui.words.plans import done_text, plan_text, refusal_text, refused_text, room_line, room_words
from engine.api import Snapshot
from engine.core.boxes import is_heard
from engine.core.insight.why import Decision, Explanation, Part
from engine.core.plans import EvictStep, Plan, Refusal
from engine.core.records import Entry, Notice, Phases, Pinned, Record, Refused, Residency, Switch

_PARTS: Final[dict[Part, str]] = {
    "came": "it was brought there",
    "victim": "it left to make room for another",
    "taken off": "it was taken off, as asked",
    "pinned": "its pin was changed",
    "refused": "it was refused",
    "in the way": "it could not leave for another, which was refused",
    "spared": "it would have left on a device that was not chosen",
}
_NOTHING: Final = "no record that is kept says how: it has not been asked for since, or that was long ago"
_TIERS: Final = {"ram": "the RAM tier", "disk": "a prepared slab on disk", "source": "its source, not prepared yet"}


def record_text(record: Record, label: Label) -> str:
    entry = record.entry
    clock = time.strftime("%m-%d %H:%M:%S", time.localtime(entry.at_s))
    return clean(f"{clock}  {_words(entry, label)}")


def _words(entry: Entry, label: Label) -> str:
    match entry:
        case Switch():
            return _switch(entry, label)
        case Refused(refusal=refusal):
            return refused_text(refusal, label)
        case Pinned(plan=plan):
            return done_text(plan, label)
        case Notice(level=level, text=text):
            return text if level == "info" else f"{level}: {text}"
        case Residency(residents=residents):
            return f"in memory: {', '.join(f'{label(model)} on {device}' for model, device in residents) or 'nothing'}"
        case _:
            assert_never(entry)


def _switch(switch: Switch, label: Label) -> str:
    ended = "" if switch.outcome == "done" else f"  {switch.outcome}: {switch.reason}"
    predicted = f"predicted {seconds_text(switch.predicted.p50_s)}"
    return (
        f"{_movement(switch.plan, label)}  {seconds_text(switch.total_s)} ({predicted})  {phases_text(switch.phases)}".rstrip()
        + ended
    )


def _movement(plan: Plan, label: Label) -> str:
    if plan.load is None:
        return done_text(plan, label)
    leaving = ", ".join(label(victim.model) for victim in plan.victims)
    also = "also " if plan.load.stays else ""
    return f"{label(plan.load.model)} → {also}{plan.load.device}" + (f", out: {leaving}" if leaving else "")


def phases_text(phases: Phases) -> str:
    """Those that took time at all."""
    taken = {name: getattr(phases, name) for name in phases.__struct_fields__}
    return " ".join(f"{name} {value:.2f}" for name, value in taken.items() if value >= 0.005)


# ── an explanation ────────────────────────────────────────────────────────────────────────────────


def explanation_text(explained: Explanation, asked_now: Plan | Refusal, snapshot: Snapshot, label: Label) -> str:
    """All of it, in paragraphs: how things are, the decisions that led there, and what a load would do now."""
    next_ = plan_text(asked_now, label) if isinstance(asked_now, Plan) else refusal_text(asked_now, label)
    asked = "if it were loaded now:\n" + _indented(next_)
    return "\n\n".join([_standing(explained, snapshot, label), *decisions(explained, label), asked])


def decisions(explained: Explanation, label: Label) -> list[str]:
    """A paragraph for each decision that led there, and for what happened since."""
    parts = []
    if explained.last is None:
        parts.append(_NOTHING)
    else:
        parts.append(f"last decision, {_decision(explained.last, label)}")
    if explained.placed is not None:
        parts.append(f"how it came to be where it is, {_decision(explained.placed, label)}")
    parts += [f"since then, {_clock(notice.at_s)}: {clean(notice.text)}" for notice in explained.since]
    return parts


def _standing(explained: Explanation, snapshot: Snapshot, label: Label) -> str:
    name, now_s = label(explained.model), snapshot.at_s
    places = [
        f"{r.stage} on {r.device} for {age_text(now_s - r.since_s)}"
        if is_heard(snapshot.boxes, r.device)
        else f"{UNHEARD} on {r.device}, where it was {r.stage}"
        for r in explained.residents
    ]
    where = " and ".join(places) or f"on no device; its weights are in {_TIERS[explained.tier]}"
    pin = explained.pin
    pinned = "not pinned" if pin is None else f"pinned to {pin.device}" if pin.device else "pinned"
    demand = explained.demand
    last = "" if demand.last_s is None else f", the last {age_text(now_s - demand.last_s)} ago"
    requests = count_text(demand.requests, "request", "requests")
    return f"{name} is {where}\n{pinned}; {requests} since the engine started{last}"


def _decision(decision: Decision, label: Label) -> str:
    entry = decision.entry
    head = f"{_clock(entry.at_s)}, asked by {ASKED_BY[entry.origin]} (record {decision.seq}): {_PARTS[decision.part]}"
    match entry:
        case Switch():
            body = [*_weighed(entry.plan, label), _outcome(entry)]
        case Refused(refusal=refusal):
            body = [refusal_text(refusal, label)]
        case Pinned(plan=plan):
            body = [plan_text(plan, label)]
    return head + "\n" + _indented("\n".join(body))


def _weighed(plan: Plan, label: Label) -> list[str]:
    """The plan with the figures that it was chosen by."""
    lines = [plan_text(plan, label)]
    for step in plan.steps:
        if isinstance(step, EvictStep) and step.loss_s is not None and step.stays:
            cost = f"{step.loss_s:.2f} s of waiting expected for {' and '.join(step.stays)}, where it stays"
            lines.append(clean(f"losing the copy of {label(step.model)} on {step.device}: {cost}"))
        elif isinstance(step, EvictStep) and step.loss_s is not None and step.reload_s:
            requests = step.loss_s / step.reload_s
            cost = f"{requests:.2f} expected requests × {step.reload_s:.2f} s to bring it back"
            lines.append(clean(f"losing {label(step.model)}: {step.loss_s:.2f} s = {cost}"))
    rooms = [clean(room_line(room_words(room))) for room in plan.rooms]
    return [*lines, *(["what the devices had then:", *rooms] if rooms else [])]


def _outcome(switch: Switch) -> str:
    """What was predicted beside what was measured."""
    reason = f": {clean(switch.reason)}" if switch.reason else ""
    predicted = f"predicted {range_text(switch.predicted.p50_s, switch.predicted.p90_s)}"
    return f"{switch.outcome}{reason}; took {seconds_text(switch.total_s)}, {predicted}  {phases_text(switch.phases)}".rstrip()


def _clock(at_s: float) -> str:
    return time.strftime("%m-%d %H:%M:%S", time.localtime(at_s))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
