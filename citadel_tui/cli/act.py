"""`citadel load|evict|pin|unpin|cpu|move`: plan, ask when the plan touches more than its own model, carry out, report.

They differ in what they ask the engine for, so each is a struct of a few lines; `citadel plan` reads them the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from argparse import Action, ArgumentParser, Namespace
from typing import Final, assert_never

from msgspec import Struct

from citadel_tui.cli.engine import at_hand, check_device
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import agreed, progress, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.values import device
from citadel_tui.text import clean
from citadel_tui.words.figures import seconds_text
from citadel_tui.words.labels import Label, labels
from citadel_tui.words.plans import done_text, ending_text, plan_text, refusal_text
from engine.api import Answer, Cancelled, Changed, Declined, Done, Failed, Updated
from engine.client import RemoteEngine
from engine.core.commands import Command, Evict, ForceCpu, LeaveCpu, Load, Move, SetPin, Submission, Unpin, models_of
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import Plan, Refusal
from engine.core.serialization import to_json


class VerbArguments(Arguments, frozen=True, kw_only=True):
    """A verb and the model that it is about."""

    model: ModelName
    yes: bool = False
    """Whether the operator has agreed beforehand."""
    now: bool = False
    """Whether runs that are in the way are ended."""
    json: bool = False
    """Whether the answer, or the plan of `citadel plan`, is wanted as JSON."""

    @classmethod
    def add_to(cls, verb: ArgumentParser) -> None:
        verb.add_argument("model")

    def command(self) -> Command:
        """What the engine is asked to do."""
        raise NotImplementedError


class LoadArguments(VerbArguments, frozen=True, kw_only=True):
    on: DeviceId | None
    also: DeviceId | bool
    """Whether one more copy is wanted, and where, if that is not left to the engine."""

    @classmethod
    def add_to(cls, verb: ArgumentParser) -> None:
        verb.add_argument("model")
        where = verb.add_mutually_exclusive_group()
        where.add_argument("--on", type=device, metavar="DEVICE", help="gpu0, gpu1, …, cpu; the best one when left out")
        where.add_argument(
            "--also",
            nargs="?",
            const=True,
            default=False,
            type=device,
            metavar="GPU",
            help="keep it where it is and have one more copy, on this GPU or the best one",
        )

    def command(self) -> Command:
        if self.also is False:
            return Load(self.model, self.on)
        return Load(self.model, None if self.also is True else self.also, also=True)


class EvictArguments(VerbArguments, frozen=True, kw_only=True):
    source: DeviceId | None

    @classmethod
    def add_to(cls, verb: ArgumentParser) -> None:
        verb.add_argument("model")
        verb.add_argument(
            "--from",
            dest="source",
            type=device,
            metavar="DEVICE",
            help="only the copy there; all of them when left out",
        )

    def command(self) -> Command:
        return Evict(self.model, self.source)


class PinArguments(VerbArguments, frozen=True, kw_only=True):
    on: DeviceId | None

    @classmethod
    def add_to(cls, verb: ArgumentParser) -> None:
        verb.add_argument("model")
        verb.add_argument("--on", type=device, metavar="DEVICE", help="and keep it there")

    def command(self) -> Command:
        return SetPin(self.model, self.on)


class UnpinArguments(VerbArguments, frozen=True, kw_only=True):
    def command(self) -> Command:
        return Unpin(self.model)


class CpuArguments(VerbArguments, frozen=True, kw_only=True):
    back: bool

    @classmethod
    def add_to(cls, verb: ArgumentParser) -> None:
        verb.add_argument("model")
        verb.add_argument("--back", action="store_true", help="undo it: unpin the model and load it on the best GPU")

    def command(self) -> Command:
        return LeaveCpu(self.model) if self.back else ForceCpu(self.model)


class _NamedDevice(Action):
    """The device of a move, which is named once: behind the model, or by the option; that one's `const` is the other way."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: object, option_string: str | None = None
    ) -> None:
        if getattr(namespace, self.dest, None) is not None:
            parser.error("the device is named twice")
        setattr(namespace, self.dest, values)
        if isinstance(self.const, Action):
            self.const.required = False


class MoveArguments(VerbArguments, frozen=True, kw_only=True):
    device: DeviceId

    @classmethod
    def add_to(cls, verb: ArgumentParser) -> None:
        verb.add_argument("model")
        behind = verb.add_argument("device", type=device, action=_NamedDevice, help="or --on DEVICE")
        about = "the same"
        verb.add_argument(
            "--on", dest="device", type=device, action=_NamedDevice, const=behind, metavar="DEVICE", help=about
        )

    def command(self) -> Command:
        return Move(self.model, self.device)


VERB_ARGUMENTS: Final[dict[str, type[VerbArguments]]] = {
    "load": LoadArguments,
    "evict": EvictArguments,
    "pin": PinArguments,
    "unpin": UnpinArguments,
    "cpu": CpuArguments,
    "move": MoveArguments,
}


_TAKES_AWAY: Final = ("load", "evict", "cpu", "move")
"""Verbs that may take a model away from its runs."""


def add_verb(command: CommandParser) -> type[VerbArguments]:
    """What the verb's command and its plan have in common."""
    verb = VERB_ARGUMENTS[command.name]
    verb.add_to(command)
    if command.name in _TAKES_AWAY:
        command.add_argument(
            "--now", action="store_true", help="end the requests that are in the way, don't wait for them"
        )
    return verb


def add_arguments(command: CommandParser) -> None:
    verb = add_verb(command)
    command.add_argument("--yes", "-y", action="store_true", help="don't ask, whatever else the plan touches")
    about = "the answer as JSON, with the phases of the switch; or the plan, when it needs --yes"
    command.add_argument("--json", action="store_true", help=about)
    command.carried_out_by(run, verb)


def run(arguments: VerbArguments) -> int:
    return asyncio.run(_act(arguments))


async def _act(arguments: VerbArguments) -> Exit:
    command = arguments.command()
    async with at_hand(arguments) as engine:
        snapshot = await engine.snapshot()
        check_device(snapshot, device_of(command))
        planned = await engine.plan(command, now=arguments.now)
        teller = Teller(label=labels(snapshot.state), agreed=arguments.yes, json=arguments.json)
        if isinstance(planned, Refusal):
            return teller.answered(Declined(planned))
        if planned.joins:
            tell("; ".join(planned.reasons))
        elif planned.steps and not teller.is_agreed(planned):
            return Exit.NOT_CONFIRMED
        return await carried_out(engine, planned, teller, now=arguments.now)


def device_of(command: Command) -> DeviceId | None:
    """The device that the command names."""
    match command:
        case Load(device=named) | Evict(device=named) | SetPin(device=named) | Move(device=named):
            return named
        case _:
            return None


async def carried_out(engine: RemoteEngine, plan: Plan, teller: Teller, *, now: bool) -> Exit:
    """Have the agreed `plan` carried out, `now` with the end of the runs that are in its way. Asks again when it has changed
    meanwhile, unless everything was agreed to."""
    while isinstance(answer := await submitted(engine, plan, now=now), Changed):
        tell("the plan has changed in the meantime; nothing was done yet")
        plan = answer.plan
        if not teller.is_agreed(plan):
            return Exit.NOT_CONFIRMED
    return teller.answered(answer)


async def submitted(engine: RemoteEngine, plan: Plan, *, now: bool) -> Answer:
    """The answer; an interrupted wait takes the command back."""
    submission = Submission(str(uuid.uuid4()), plan.command, confirmed=plan.effects, now=now)
    watching = asyncio.create_task(_show_progress(engine, submission.id))
    try:
        return await engine.submit(submission)
    except asyncio.CancelledError:
        if await engine.cancel(submission.id):
            tell("interrupted: the command was taken back")
        raise
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _show_progress(engine: RemoteEngine, submission_id: str) -> None:
    with progress() as show:
        async with contextlib.aclosing(engine.events()) as events:
            async for event in events:
                if isinstance(event, Updated):
                    for job in event.snapshot.jobs:
                        if job.id == submission_id:
                            residents = event.snapshot.state.residents
                            models = models_of(job.command)
                            moving = [r for r in residents if r.model in models and r.progress is not None]
                            share = "".join(f" {100 * (r.progress or 0):.0f} %" for r in moving)
                            show(f"{job.phase}{share}  {job.elapsed_s:.1f} s  {job.waiting_for}")


class Teller(Struct, frozen=True, kw_only=True):
    """Tells what is planned and what came of it: in words, or as the one JSON object that stdout gets."""

    label: Label
    agreed: bool
    """Whether the operator has agreed beforehand."""
    json: bool

    def is_agreed(self, plan: Plan) -> bool:
        """Whether the plan may run: it has no side effects, or the operator said yes to them."""
        if self.agreed or not plan.has_side_effects:
            return True
        tell("this needs your yes, since something leaves, moves, waits or loses its pin:")
        if self.json:
            print(to_json(plan).decode(), flush=True)
            tell("nothing was done; run it again with --yes to agree to this")
            return False
        print(plan_text(plan, self.label), flush=True)
        return agreed()

    def answered(self, answer: Done | Declined | Failed | Cancelled) -> Exit:
        """Tell the answer, and give what to exit with."""
        if self.json:
            print(to_json(answer).decode())
        match answer:
            case Done():
                if not self.json:
                    print(_done(answer, self.label))
                return Exit.DONE
            case Declined(refusal=refusal):
                return Exit.REFUSED if self.json else refused(refusal, self.label)
            case Failed() | Cancelled():
                if not self.json:
                    tell(ending_text(answer))
                return Exit.FAILED
            case _:
                assert_never(answer)


def _done(answer: Done, label: Label) -> str:
    plan, switch = answer.plan, answer.switch
    if not plan.steps:
        return clean("; ".join(plan.reasons))
    took = f"  ({seconds_text(switch.total_s)}, predicted {seconds_text(plan.predicted.p50_s)})" if switch else ""
    why = "".join(f"\n  because {clean(reason)}" for reason in plan.reasons) if _chose_the_cpu(plan) else ""
    return f"{done_text(plan, label)}{took}{why}"


def _chose_the_cpu(plan: Plan) -> bool:
    """Whether it ends on the CPU, and nobody has asked for that."""
    on_cpu = plan.load is not None and plan.load.device == CPU
    return on_cpu and isinstance(plan.command, Load | LeaveCpu) and plan.command != Load(plan.command.model, CPU)


def refused(refusal: Refusal, label: Label) -> Exit:
    for line in refusal_text(refusal, label).split("\n"):
        tell(line)
    return Exit.REFUSED
