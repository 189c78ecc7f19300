"""Commands that are under way, and the answers of those that have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from engine.api import Answer
from engine.core.commands import Command, Submission
from engine.scheduler.board import Board
from engine.scheduler.effects import AnswerCommand
from engine.scheduler.jobs import Job, PhaseClock
from engine.scheduler.switch import carry_out

REMEMBERED_ANSWERS: Final = 1000


class _Answered(NamedTuple):
    submission: Submission
    answer: Answer


class Commands:
    """Carries out each submission once and answers it once, however often it is handed in: a console whose line broke sends its
    command again, under the same id."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._jobs: dict[str, Job] = {}
        self._answered: dict[str, _Answered] = {}

    @property
    def jobs(self) -> Sequence[Job]:
        """What is under way, oldest first."""
        return tuple(self._jobs.values())

    def known(self, submission_id: str) -> Submission | None:
        """What was submitted under that id, as far as it is remembered."""
        if job := self._jobs.get(submission_id):
            return job.submission
        answered = self._answered.get(submission_id)
        return answered.submission if answered else None

    def is_under_way(self, command: Command) -> bool:
        return any(job.submission.command == command for job in self._jobs.values())

    def submit(self, submission: Submission) -> Job | None:
        """The submission's job, which begins when jobs are resumed next; None when it has been answered, as it is again."""
        if answered := self._answered.get(submission.id):
            self._board.emit(AnswerCommand(submission.id, answered.answer))
            return None
        if submission.id not in self._jobs:
            now = self._board.now
            job = Job(submission, now.wall_s, PhaseClock(now.mono_s))
            job.flow = carry_out(self._board, job)
            self._jobs[submission.id] = job
        return self._jobs[submission.id]

    def withdraw(self, submission_id: str) -> None:
        """Somebody takes a command back; one that has ended stays as it ended."""
        # A mark, not an exception thrown into the flow: only the flow knows where it can stop without leaving bytes half moved.
        if job := self._jobs.get(submission_id):
            job.withdrawn = "it was taken back"

    def answer(self, job: Job, answer: Answer) -> None:
        """The job has ended."""
        del self._jobs[job.submission.id]
        self._answered[job.submission.id] = _Answered(job.submission, answer)
        if len(self._answered) > REMEMBERED_ANSWERS:
            del self._answered[next(iter(self._answered))]
        self._board.emit(AnswerCommand(job.submission.id, answer))
