"""The way of a command from key to outcome: plan or propose, ask when it touches more than its own model, submit, say how it
ended."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, assert_never
from uuid import uuid4

from msgspec import Struct

from citadel_tui.viewmodel.spans import Role
from citadel_tui.words.figures import seconds_text
from citadel_tui.words.plans import ending_text
from engine.api import Answer, Cancelled, Changed, Declined, Done, Failed
from engine.core.commands import Command, Submission, command_text
from engine.core.names import DeviceId
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Wish, wish_text


class StatusMessage(Struct, frozen=True):
    """A line for the operator that stays until it has been seen."""

    text: str
    role: Role = "text"


class Wanted(Struct, frozen=True):
    """What the operator wants done, after having seen what that would be."""

    command: Command
    now: bool = False
    """Whether runs that are in the way are ended, instead of waited for."""


class WorkerOf(Struct, frozen=True):
    """The worker of a device, which is to be restarted."""

    device: DeviceId


class CommandEngine(Protocol):
    """The part of the engine's API that a command needs."""

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal: ...

    async def propose(self, wish: Wish) -> Proposal | Refusal: ...

    async def submit(self, submission: Submission) -> Answer: ...


class Operator(Protocol):
    """The person at the keys, as the flow sees them."""

    async def confirm(self, plan: Plan, wanted: Wanted, *, changed: bool) -> Wanted | None:
        """Show the preview of what is `wanted`: that again to do it, something else to plan that instead, None to leave it.

        `changed`: the plan is not the one that was confirmed before.
        """
        ...

    async def agree(self, proposal: Proposal) -> Wanted | None:
        """Show what the engine proposes: its command to do it, the same now to plan that instead, None to leave it."""
        ...

    async def read(self, refusal: Refusal) -> Wanted | None:
        """Show why it can't be done; what the operator wants instead, if anything."""
        ...

    def say(self, message: StatusMessage) -> None: ...

    def asking(self, what: str) -> AbstractContextManager[None]:
        """Inside, the operator sees that the engine was asked for `what` and has not answered."""
        ...


async def carry_out(command: Command, engine: CommandEngine, operator: Operator) -> None:
    """Take `command` to its end. Raises EngineError when `engine` does."""
    await _plan_and_do(Wanted(command), engine, operator)


async def _plan_and_do(first: Wanted, engine: CommandEngine, operator: Operator) -> None:
    """Plan what is wanted, and what the operator wants instead, until that is to be done or left."""
    wanted: Wanted | None = first
    while wanted is not None:
        with operator.asking(command_text(wanted.command)):
            found = await engine.plan(wanted.command, now=wanted.now)
        if isinstance(found, Refusal):
            wanted = await operator.read(found)
            continue
        if found.steps and found.has_side_effects:
            chosen = await operator.confirm(found, wanted, changed=False)
            if chosen != wanted:
                wanted = chosen
                continue
        wanted = await _submit(found, wanted, engine, operator)


async def fulfil(wish: Wish, engine: CommandEngine, operator: Operator) -> None:
    """Have the engine propose what would answer `wish`, and do it when the operator agrees. Raises EngineError."""
    with operator.asking(wish_text(wish)):
        found = await engine.propose(wish)
    if isinstance(found, Refusal):
        await operator.read(found)
        return
    if not found.plan.steps:
        _nothing_to_do(found.command, found.reasons or found.plan.reasons, operator)
        return
    wanted = await operator.agree(found)
    if wanted is not None and not wanted.now:
        wanted = await _submit(found.plan, wanted, engine, operator)
    if wanted is not None:
        await _plan_and_do(wanted, engine, operator)


async def _submit(plan: Plan, wanted: Wanted, engine: CommandEngine, operator: Operator) -> Wanted | None:
    """Have `plan` done; one that has changed meanwhile is shown again first, whatever it touches. What the operator wants
    instead then, if anything."""
    # The engine does nothing but what was agreed to: it plans anew when the submission comes, and answers `Changed` when that has
    # other effects than those confirmed. This may happen more than once, and may end in nothing to do.
    if plan.joins:
        operator.say(StatusMessage("; ".join((f"{command_text(plan.command)}: waits", *plan.reasons))))
    while True:
        # Also a plan without steps: what was about to leave stays only once that was said.
        with operator.asking(command_text(plan.command)):
            answer = await engine.submit(Submission(uuid4().hex, plan.command, confirmed=plan.effects, now=wanted.now))
        if isinstance(answer, Done) and not (plan.steps or plan.joins):
            _nothing_to_do(plan.command, answer.plan.reasons, operator)
            return None
        if not isinstance(answer, Changed):
            return await _report(plan.command, answer, operator)
        plan = answer.plan
        chosen = await operator.confirm(plan, wanted, changed=True) if plan.steps else wanted
        if chosen != wanted:
            return chosen


def _nothing_to_do(command: Command, reasons: tuple[str, ...], operator: Operator) -> None:
    operator.say(StatusMessage("; ".join((f"{command_text(command)}: nothing to do", *reasons))))


async def _report(command: Command, answer: Done | Declined | Failed | Cancelled, operator: Operator) -> Wanted | None:
    """Say how it ended; what the operator wants instead, if anything."""
    what = command_text(command)
    match answer:
        case Done(switch=switch):
            took = f" in {seconds_text(switch.total_s)}" if switch else ""
            operator.say(StatusMessage(f"{what}: done{took}", "good"))
        case Declined(refusal=refusal):
            return await operator.read(refusal)
        case Failed():
            operator.say(StatusMessage(f"{what}: {ending_text(answer)}", "bad"))
        case Cancelled():
            operator.say(StatusMessage(f"{what}: {ending_text(answer)}", "warn"))
        case _:
            assert_never(answer)
    return None
