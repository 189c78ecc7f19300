"""A line of the journal in words: when, what, how long, and where the time went."""

from __future__ import annotations

import time
from typing import assert_never

from citadel_tui.text import clean
from citadel_tui.words.figures import seconds_text
from citadel_tui.words.labels import Label
from citadel_tui.words.plans import deeds
from engine.core.commands import Batch, Command
from engine.core.plans import Plan
from engine.core.records import Entry, Notice, Phases, Pinned, Record, Refused, Residency, Switch


def record_text(record: Record, label: Label) -> str:
    entry = record.entry
    clock = time.strftime("%m-%d %H:%M:%S", time.localtime(entry.at_s))
    return clean(f"{clock}  {_words(entry, label)}")


def _words(entry: Entry, label: Label) -> str:
    match entry:
        case Switch():
            return _switch(entry, label)
        case Refused(refusal=refusal):
            return f"refused: {_asked(refusal.command, label)}: {refusal.reason}"
        case Pinned(plan=plan):
            return deeds(plan, label)
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
        return deeds(plan, label)
    leaving = ", ".join(label(victim.model) for victim in plan.victims)
    return f"{label(plan.load.model)} → {plan.load.device}" + (f", out: {leaving}" if leaving else "")


def phases_text(phases: Phases) -> str:
    """Those that took time at all."""
    taken = {name: getattr(phases, name) for name in phases.__struct_fields__}
    return " ".join(f"{name} {value:.2f}" for name, value in taken.items() if value >= 0.005)


def _asked(command: Command, label: Label) -> str:
    return command.title if isinstance(command, Batch) else f"{command.__struct_config__.tag} {label(command.model)}"
