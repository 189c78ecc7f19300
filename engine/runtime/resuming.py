"""Resuming jobs: each goes on as far as it can, and one that ends leaves one record, one answer and, should it have come to
nothing, the state that it found."""

from __future__ import annotations

from engine.api import Answer, Cancelled, Changed, Declined, Done, Failed
from engine.core.proposing.undo import remembered
from engine.core.commands import models_of
from engine.scheduler.board import Board
from engine.scheduler.journaling import Bookkeeping
from engine.scheduler.commands import CommandDesk
from engine.scheduler.jobs import Job
from engine.scheduler.leases import LeaseDesk
from engine.runtime.outcomes import Broken, NotAllowed, PlanChanged, Withdrawn
from engine.scheduler.self_issued import OwnCommands


class Resuming:
    """Knows every way in which a flow can end."""

    def __init__(self, board: Board, commands: CommandDesk, leases: LeaseDesk, own: OwnCommands) -> None:
        self._board = board
        self._commands = commands
        self._leases = leases
        self._own = own
        self._books = Bookkeeping(board)

    def resume(self, job: Job) -> None:
        """Let the job go on until it waits again, or has ended."""
        assert job.flow is not None
        try:
            phase = next(job.flow)
        except StopIteration:
            self._done(job)
        except NotAllowed as ending:
            self._books.refused(job, ending.refusal)
            self._answer(job, Declined(ending.refusal), ending.refusal.reason)
            self._restore_victims(job)
        except PlanChanged as ending:
            self._answer(job, Changed(ending.plan), "the plan changed")
            self._restore_victims(job)
        except Withdrawn as ending:
            self._stop_clock(job)
            self._books.ended(job, "cancelled", ending.reason)
            self._answer(job, Cancelled(ending.reason), ending.reason)
        except Broken as ending:
            self._stop_clock(job)
            self._books.ended(job, "failed", ending.reason)
            self._answer(job, Failed(ending.reason), ending.reason)
            self._restore_victims(job)
        else:
            if phase != job.clock.phase:
                job.clock.enter(phase, self._board.now.mono_s)

    def _done(self, job: Job) -> None:
        assert job.plan is not None
        self._stop_clock(job)
        switch = self._books.ended(job, "done", job.mishap)
        self._board.state = remembered(self._board.state, job.submission, job.plan, self._board.now.wall_s)
        self._commands.answer(job, Done(job.plan, switch))

    def _stop_clock(self, job: Job) -> None:
        """Count the time up to now as the job's last phase."""
        job.clock.enter(job.clock.phase, self._board.now.mono_s)

    def _answer(self, job: Job, answer: Answer, reason: str) -> None:
        """The job has come to nothing; no request need wait for what it would have brought."""
        self._commands.answer(job, answer)
        if job.submission.origin == "request":
            for model in models_of(job.submission.command):
                self._leases.deny(model, reason)

    def _restore_victims(self, job: Job) -> None:
        """A plan that failed leaves the state it would have had without it: its victims come back."""
        self._own.restore([(v.model, v.device) for v in job.evicted if not self._board.state.of(v.model)])
