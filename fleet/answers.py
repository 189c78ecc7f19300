"""What several boxes answered, as one answer, and what a box answered once, out of its journal: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from engine.api import Answer, Cancelled, Declined, Done, Failed, why_not_done
from engine.core.catalog import CatalogChange
from engine.core.commands import Command
from engine.core.names import BoxName
from engine.core.plans import Plan, Refusal
from engine.core.records import CommandEnd, Pinned, Refused, Switch
from fleet.naming import on


def merged_plan(command: Command, plans: Mapping[BoxName, Plan | Refusal]) -> Plan | Refusal:
    """What boxes would do for `command`, in the fleet's names, or what the first refuses that can't."""
    said = {box: on(box, plan) for box, plan in plans.items()}
    if refused := next((one for one in said.values() if isinstance(one, Refusal)), None):
        return Refusal(command, refused.reason, refused.needed_bytes, refused.rooms, refused.blockers, refused.advice)
    found = [one for one in said.values() if isinstance(one, Plan)]
    return Plan(
        command,
        tuple(step for plan in found for step in plan.steps),
        tuple(dict.fromkeys(reason for plan in found for reason in plan.reasons)),
        tuple(other for plan in found for other in plan.alternatives),
        tuple(room for plan in found for room in plan.rooms),
        any(plan.joins for plan in found),
    )


def merged_answer(command: Command, answers: Mapping[BoxName, Answer]) -> Answer:
    """What came of all parts of `command`. Where not all were done, which were and why the others were not, in words."""
    said = {box: on(box, answer) for box, answer in answers.items()}
    if len(said) == 1:
        (answer,) = said.values()
        return answer
    done = [one for one in said.values() if isinstance(one, Done)]
    if len(done) == len(said):
        plan = merged_plan(command, {box: one.plan for box, one in answers.items() if isinstance(one, Done)})
        assert isinstance(plan, Plan)
        switches = [one.switch for one in done if one.switch is not None]
        return Done(plan, max(switches, key=lambda one: one.total_s, default=None))
    outcomes = [f"{box}: {'done' if isinstance(one, Done) else why_not_done(one)}" for box, one in said.items()]
    reason = "; ".join(outcomes)
    if not done and all(isinstance(one, Cancelled) for one in said.values()):
        return Cancelled(reason)
    was_done = [isinstance(one, Done) or (isinstance(one, Failed) and one.holds) for one in said.values()]
    return Failed(reason, holds=all(was_done), partly=any(was_done) and not all(was_done))


def answer_of(entry: CommandEnd) -> Answer:
    """What was answered to the command whose end a journal tells."""
    match entry:
        case Switch(outcome="done"):
            return Done(entry.plan, entry)
        case Switch(outcome="failed"):
            return Failed(entry.reason)
        case Switch():
            return Cancelled(entry.reason)
        case Refused():
            return Declined(entry.refusal)
        case Pinned():
            return Done(entry.plan)
        case _:
            assert_never(entry)


def command_of(entry: CommandEnd) -> Command:
    """The command whose end a journal tells."""
    return entry.refusal.command if isinstance(entry, Refused) else entry.plan.command


def merged_change(changes: Mapping[BoxName, CatalogChange]) -> CatalogChange:
    """What reading the catalogs again has changed on any box."""

    def union(each: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for names in each for name in names))

    said = list(changes.values())
    return CatalogChange(
        union([one.added for one in said]),
        union([one.removed for one in said]),
        union([one.leaving for one in said]),
        union([one.changed for one in said]),
        union([one.later for one in said]),
        tuple(f"{box}: {remark}" for box, one in changes.items() for remark in one.remarks),
    )
