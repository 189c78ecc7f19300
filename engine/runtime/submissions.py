"""Who waits for the answer to which command. An id stands for one command: it is carried out once, however often it is sent, and
whoever sends another one under it is refused, instead of being told that it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from engine.api import Answer, BadRequest, EngineError, Overloaded
from engine.core.commands import Submission, command_text, fault_of_submission
from engine.core.texts import in_brief

MOST_UNDER_WAY: Final = 256
"""Commands of clients: each is in every snapshot until it has ended."""


class _Awaited(NamedTuple):
    submission: Submission
    askers: list[asyncio.Future[Answer]]


class Submissions:
    """Commands on their way through the scheduler; `known` tells what that remembers of an id."""

    def __init__(self, known: Callable[[str], Submission | None]) -> None:
        self._known: Final = known
        self._awaited: Final[dict[str, _Awaited]] = {}

    def check(self, submission: Submission) -> None:
        """Raises BadRequest for one that is beyond a bound, Overloaded for one too many."""
        if fault := fault_of_submission(submission):
            raise BadRequest(f"{fault}; nothing was done")
        if len(self._awaited) >= MOST_UNDER_WAY and submission.id not in self._awaited:
            raise Overloaded(f"{MOST_UNDER_WAY} commands are under way, the most that there may be; nothing was done")

    def ask(self, submission: Submission) -> asyncio.Future[Answer]:
        """What its answer will come in. Raises BadRequest for an id that another command has."""
        awaited = self._awaited.get(submission.id)
        before = awaited.submission if awaited else self._known(submission.id)
        if before is not None and before != submission:
            raise BadRequest(
                f"the id {in_brief(submission.id)} was given to another command, {in_brief(command_text(before.command))};"
                " nothing was done. Send this one under an id of its own"
            )
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(submission.id, _Awaited(submission, [])).askers.append(answer)
        return answer

    def answered(self, submission_id: str, answer: Answer) -> None:
        """Tell whoever waits for it."""
        awaited = self._awaited.pop(submission_id, None)
        for asker in awaited.askers if awaited else ():
            if not asker.done():
                asker.set_result(answer)

    def end(self, error: EngineError) -> None:
        """Nothing is answered any more."""
        for awaited in self._awaited.values():
            for asker in awaited.askers:
                if not asker.done():
                    asker.set_exception(error)
