"""`citadel fleet drain BOX` and `undrain BOX`: fleet.yaml says that the box takes nothing new, and what it has goes to others,
one model after the other. Each leaves only once it has come: so this may end at any moment, and what is there answers there."""

from __future__ import annotations

import asyncio
from pathlib import Path

from citadel_tui.cli.act import Teller, submitted
from citadel_tui.cli.engine import attached
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import agreed, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.text import clean
from citadel_tui.words.boxes import unknown_box
from citadel_tui.words.figures import count_text
from citadel_tui.words.labels import labels
from citadel_tui.words.plans import proposal_text
from engine.api import Cancelled, Changed, Declined, Done, EngineError, Failed
from engine.client import RemoteEngine
from engine.core.commands import Single
from engine.core.names import BoxName, ModelName
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Drain, Proposal
from engine.core.serialization import to_json
from engine.settings.yaml_text import NotSet, with_value
from engine.whole_file import only_writer, write_whole


class BoxArguments(Arguments, frozen=True, kw_only=True):
    box: BoxName


def add_undrain(command: CommandParser) -> None:
    command.add_argument("box", metavar="BOX")
    command.carried_out_by(_undrain, BoxArguments)


def _undrain(arguments: BoxArguments) -> int:
    return asyncio.run(_undrained(arguments))


async def _undrained(arguments: BoxArguments) -> Exit:
    async with attached(arguments) as engine:
        await _check_box(engine, arguments.box)
        await _write(engine, arguments.box, drained=False)
    print(f"{arguments.box} takes what comes; nothing was moved")
    return Exit.DONE


async def drain_box(engine: RemoteEngine, box: BoxName, *, yes: bool, now: bool, json: bool) -> Exit:
    """Have the box emptied once that is agreed to. Raises EngineError."""
    await _check_box(engine, box)
    proposed = await _proposed(engine, box)
    if json and not yes:
        print(to_json(proposed).decode())
        return Exit.DONE
    teller = Teller(label=labels((await engine.snapshot()).state), agreed=True, json=False)
    if not json:
        print(f"{box} takes nothing new from then on\n{proposal_text(proposed, teller.label)}", flush=True)
    if not yes and not agreed():
        return Exit.NOT_CONFIRMED
    await _write(engine, box, drained=True)
    left = await _Emptying(engine, box, None if json else teller, now=now).run()
    if json:
        print(to_json(left).decode())
    return Exit.FAILED if left.reasons or left.command.commands else Exit.DONE


class _Emptying:
    """The models of a drained box, on their way off it."""

    def __init__(self, engine: RemoteEngine, box: BoxName, teller: Teller | None, *, now: bool) -> None:
        """Without a `teller` nothing is printed of what was done."""
        self._engine = engine
        self._box = box
        self._teller = teller
        self._now = now
        self._gone: list[ModelName] = []
        self._tried: set[Single] = set()

    async def run(self) -> Proposal:
        """Take off what can leave; what is left then. Each time what is best by then is done, since what came before has changed
        that, and boxes may have gone. Raises EngineError, having told what was done."""
        try:
            while command := self._next(left := await _proposed(self._engine, self._box)):
                self._tried.add(command)
                await self._carry_out(command)
        except (EngineError, asyncio.CancelledError):
            tell(
                f"{self._so_far()}; what is left there goes on answering there. `citadel fleet drain {self._box}` goes on"
            )
            raise
        tell(self._so_far())
        for reason in left.reasons:
            tell(f"  {clean(reason)}")
        return left

    def _next(self, proposed: Proposal) -> Single | None:
        """What has not been tried yet; a model that could not go to one box may go to another."""
        return next((one for one in proposed.command.commands if one not in self._tried), None)

    async def _carry_out(self, command: Single) -> None:
        """Do it, or tell why not."""
        try:
            plan = await self._engine.plan(command, now=self._now)
            while isinstance(plan, Plan):  # else it is refused, which the next proposal says
                if any(victim.model in self._gone for victim in plan.victims):
                    tell(f"{command.model} stays: what has just been brought there would have to leave again for it")
                    return
                answer = await submitted(self._engine, plan, now=self._now)
                if not isinstance(answer, Changed):
                    self._note(command, answer)
                    return
                plan = answer.plan
        except EngineError as error:
            tell(f"{command.model}: {clean(str(error))}")

    def _note(self, command: Single, answer: Done | Declined | Failed | Cancelled) -> None:
        if isinstance(answer, Done):
            self._gone.append(command.model)
        if self._teller is not None:
            self._teller.answered(answer)

    def _so_far(self) -> str:
        gone = list(dict.fromkeys(self._gone))
        said = f"{count_text(len(gone), 'model', 'models')} left it ({', '.join(map(clean, gone))})" if gone else ""
        return f"{self._box} is drained and takes nothing new; {said or 'nothing left it'}"


async def _proposed(engine: RemoteEngine, box: BoxName) -> Proposal:
    """Raises EngineError."""
    proposed = await engine.propose(Drain(box))
    if isinstance(proposed, Refusal):
        raise EngineError(proposed.reason)
    return proposed


async def _check_box(engine: RemoteEngine, box: BoxName) -> None:
    """Raises EngineError for a box that there is not, with the one that may have been meant."""
    snapshot = await engine.snapshot()
    if words := unknown_box(snapshot, box):
        raise EngineError(words if snapshot.boxes else f"boxes are a fleet's, and this engine has none: {box}")


async def _write(engine: RemoteEngine, box: BoxName, *, drained: bool) -> None:
    """Into the fleet's file, and have that taken up. Raises EngineError; then the file is as it was."""
    file = Path((await engine.hello()).config)
    before = _changed(file, box, drained=drained)
    try:
        await engine.reload()
    except EngineError:
        if (await engine.snapshot()).boxes[box].drained != drained:
            _put(file, before)
            raise


def _changed(file: Path, box: BoxName, *, drained: bool) -> bytes:
    """Say in the file whether the box is drained; what it said before. Raises EngineError; then it is as it was."""
    try:
        with only_writer(file.parent):
            before = file.read_bytes()
            after = with_value(before.decode(), ("boxes", box), "drained", drained).encode()
            if after != before:
                _put(file, after)
            return before
    except NotSet as error:
        raise EngineError(
            f"{file} is left as it is, since only a person should change what it says of {box} ({error}): write"
            f" `drained: {'true' if drained else 'false'}` there and run `citadel fleet reload`"
        ) from error
    except OSError as error:
        raise EngineError(f"{file} is left as it is: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise EngineError(f"{file} is left as it is: it is not UTF-8 text (byte {error.start})") from error


def _put(file: Path, content: bytes) -> None:
    write_whole(file, content, file.stat().st_mode & 0o777)
