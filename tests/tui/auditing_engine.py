"""What an engine was asked to do, held against what the operator saw when the keys were pressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from citadel_tui.words.plans import plan_text, proposal_text
from engine.api import Answer, Changed
from engine.core.commands import (
    Command,
    Evict,
    ForceCpu,
    LeaveCpu,
    Load,
    Move,
    SetPin,
    Submission,
    Unpin,
    command_text,
    models_of,
    singles_of,
)
from engine.core.names import ModelName
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Wish
from tests.scripted_engine import ScriptedEngine

Request: TypeAlias = Command | Wish
Meaning: TypeAlias = Callable[[Request], bool]
"""Whether a request to the engine is what the operator meant."""

_COMMANDS: Final[dict[str, tuple[type, ...]]] = {
    "load": (Load,),
    "evict": (Evict,),
    "pin": (SetPin, Unpin),
    "cpu": (ForceCpu, LeaveCpu),
    "move": (Move,),
}
"""Of each verb, by its action's id."""


def nothing(request: Request) -> bool:
    return False


def anything(request: Request) -> bool:
    return True


def verb_for(id: str, models: tuple[ModelName, ...]) -> Meaning:
    """The verb of this action, for all or some of `models`."""
    return lambda request: (
        isinstance(request, Command)
        and set(models_of(request)) <= set(models)
        and all(isinstance(single, _COMMANDS[id]) for single in singles_of(request))
    )


def wish(meant: Wish | None) -> Meaning:
    return lambda request: request == meant


def elsewhere(command: Command) -> Meaning:
    """The same for the same models, on another device."""
    return lambda request: isinstance(request, Load | Move) and models_of(request) == models_of(command)


def said(text: str) -> Meaning:
    """What the palette calls so."""
    return lambda request: not isinstance(request, Command) or command_text(request) == text


class AuditingEngine(ScriptedEngine):
    """Notes every request that nobody meant, and every side effect that nobody agreed to."""

    def __init__(self) -> None:
        super().__init__()
        self.meant: Meaning = nothing
        self.measuring: Callable[[], bool] = lambda: False
        """Whether a benchmark has the engine; it was agreed to as a whole."""
        self.wrongs: list[str] = []
        self.done = 0
        """Submissions that somebody meant."""
        self.agreements = 0
        self._asking: dict[tuple[Command, str], str] = {}
        """What needs an agreement, by its command and effects: as the operator reads it."""
        self._agreed: list[tuple[Command, str]] = []
        self._sent: set[str] = set()

    def agree(self, command: Command, text: str) -> None:
        """The operator said yes to what the screen shows."""
        self._agreed.append((command, _without_marks(text)))

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        self._check_meant(command)
        found = await super().plan(command, now=now)
        if isinstance(found, Plan):
            self._asking.pop((command, found.effects), None)
            if found.has_side_effects:
                self._asking[command, found.effects] = plan_text(found, str)
        return found

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        self._check_meant(wish)
        found = await super().propose(wish)
        if isinstance(found, Proposal):
            self._asking[found.command, found.plan.effects] = proposal_text(found, str)
        return found

    async def submit(self, submission: Submission) -> Answer:
        known = submission.id in self._sent
        self._sent.add(submission.id)
        if not known and not self.measuring():
            self._check_agreed(submission)
        answer = await super().submit(submission)
        if isinstance(answer, Changed):
            self._asking[submission.command, answer.plan.effects] = plan_text(answer.plan, str)
        return answer

    def _check_meant(self, request: Request) -> None:
        if not self.meant(request) and not self.measuring():
            self.wrongs.append(f"nobody meant {request}")

    def _check_agreed(self, submission: Submission) -> None:
        self.done += 1
        effects = submission.confirmed
        if effects is None:
            self.wrongs.append(f"submitted without what was shown: {submission}")
        elif (text := self._asking.get((submission.command, effects))) is not None:
            self.agreements += 1
            if (submission.command, text) not in self._agreed:
                self.wrongs.append(f"nobody agreed to {submission}")
            else:
                self._agreed.remove((submission.command, text))


def _without_marks(text: str) -> str:
    return text.replace(" (synthetic)", "")
