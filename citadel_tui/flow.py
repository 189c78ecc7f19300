"""The way of a command from key to outcome: plan or propose, ask when it touches more than its own model, submit, say how it
ended."""

from __future__ import annotations

from typing import Protocol, assert_never
from uuid import uuid4

from msgspec import Struct

from citadel_tui.viewmodel.spans import Role
from citadel_tui.words.figures import seconds_text
from citadel_tui.words.plans import ending_text
from engine.api import Answer, Cancelled, Changed, Declined, Done, Failed
from engine.core.commands import Command, Submission, command_text
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Wish


class StatusMessage(Struct, frozen=True):
    """A line for the operator that stays until it has been seen."""

    text: str
    role: Role = "text"


class CommandEngine(Protocol):
    """The part of the engine's API that a command needs."""

    async def plan(self, command: Command) -> Plan | Refusal: ...

    async def propose(self, wish: Wish) -> Proposal | Refusal: ...

    async def submit(self, submission: Submission) -> Answer: ...


class Operator(Protocol):
    """The person at the keys, as the flow sees them."""

    async def confirm(self, plan: Plan, *, changed: bool) -> Command | None:
        """Show the preview. The plan's own command to do it, another one to plan that instead, None to leave it.

        `changed`: the plan is not the one that was confirmed before.
        """
        ...

    async def agree(self, proposal: Proposal) -> bool:
        """Show what the engine proposes; whether it is to be done."""
        ...

    async def read(self, refusal: Refusal) -> None:
        """Show why it can't be done."""
        ...

    def say(self, message: StatusMessage) -> None: ...


async def carry_out(command: Command, engine: CommandEngine, operator: Operator) -> None:
    """Take `command` to its end. Raises EngineError when `engine` does."""
    plan = await engine.plan(command)
    while isinstance(plan, Plan):
        if plan.steps and plan.has_side_effects:
            wanted = await operator.confirm(plan, changed=False)
            if wanted is None:
                return
            if wanted != plan.command:
                plan = await engine.plan(wanted)
                continue
        await _submit(plan, engine, operator)
        return
    await operator.read(plan)


async def fulfil(wish: Wish, engine: CommandEngine, operator: Operator) -> None:
    """Have the engine propose what would answer `wish`, and do it when the operator agrees. Raises EngineError."""
    found = await engine.propose(wish)
    if isinstance(found, Refusal):
        await operator.read(found)
    elif not found.plan.steps:
        _nothing_to_do(found.command, found.reasons or found.plan.reasons, operator)
    elif await operator.agree(found):
        await _submit(found.plan, engine, operator)


async def _submit(plan: Plan, engine: CommandEngine, operator: Operator) -> None:
    """Have `plan` done; one that has changed meanwhile is shown again first, whatever it touches."""
    # The engine does nothing but what was agreed to: it plans anew when the submission comes, and answers `Changed` when that has
    # other effects than those confirmed. This may happen more than once, and may end in nothing to do.
    while plan.steps:
        answer = await engine.submit(Submission(uuid4().hex, plan.command, confirmed=plan.effects))
        if not isinstance(answer, Changed):
            await _report(plan.command, answer, operator)
            return
        plan = answer.plan
        wanted = await operator.confirm(plan, changed=True) if plan.steps else plan.command
        if wanted is None:
            return
        if wanted != plan.command:
            await carry_out(wanted, engine, operator)
            return
    _nothing_to_do(plan.command, plan.reasons, operator)


def _nothing_to_do(command: Command, reasons: tuple[str, ...], operator: Operator) -> None:
    operator.say(StatusMessage("; ".join((f"{command_text(command)}: nothing to do", *reasons))))


async def _report(command: Command, answer: Done | Declined | Failed | Cancelled, operator: Operator) -> None:
    what = command_text(command)
    match answer:
        case Done(switch=switch):
            took = f" in {seconds_text(switch.total_s)}" if switch else ""
            operator.say(StatusMessage(f"{what}: done{took}", "good"))
        case Declined(refusal=refusal):
            await operator.read(refusal)
        case Failed():
            operator.say(StatusMessage(f"{what}: {ending_text(answer)}", "bad"))
        case Cancelled():
            operator.say(StatusMessage(f"{what}: {ending_text(answer)}", "warn"))
        case _:
            assert_never(answer)
