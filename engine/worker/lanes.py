"""Where a bound model runs for all who ask it: the face that every lane has, and the turn that the lanes of a device share."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from msgspec import Struct

from engine.core.tasks import Task
from engine.worker.running import RunOutcome, Say


class Asked(Struct, frozen=True, eq=False):
    """A run that somebody waits for. Exactly one of `end` and `fail` is called, once."""

    id: int
    task: Task
    say: Say
    end: Callable[[RunOutcome], None]
    fail: Callable[[Exception], None]


class Lane(Protocol):
    """Runs one bound model, on a thread of its own, in batches that may be made of several runs. What it was given ends in any
    order."""

    def take(self, asked: Asked) -> None:
        """Have it run. Returns at once; may be called from any thread."""
        ...

    def leave(self, run: int) -> None:
        """Nobody waits for it any more: it fails with Left, at once where it waits, else after the batch or the token under way.
        Nothing happens when it has ended. May be called from any thread."""
        ...

    def step_s(self) -> float | None:
        """For how many seconds the batch or the token under way has been running; None when none is."""
        ...

    def close(self) -> None:
        """End the thread without waiting for it. The engine takes no model away from runs that somebody waits for."""
        ...


class Runner(Protocol):
    """Runs a model that is bound, for tasks of one kind. There is one for each kind of task (`runners.SUPPORT`)."""

    def warm(self) -> None:
        """The shortest run there is. Raises OutOfMemory."""
        ...

    def lane(self, name: str, turn: Turn) -> Lane:
        """A lane of its own, until the model leaves. What can't be meant as it is fails there with BadRequest."""
        ...


class Turn:
    """A device's lanes run their batches one after the other, in the order in which they asked: side by side each would only slow
    the other, and nobody could tell what a batch takes."""

    def __init__(self) -> None:
        self._changing: Final = threading.Lock()
        self._waiting: Final[deque[threading.Lock]] = deque()
        self._taken = False

    @contextmanager
    def mine(self) -> Iterator[None]:
        """Wait for the turn, and have it inside."""
        with self._changing:
            is_free, self._taken = not self._taken, True
            gate = None if is_free else self._wait_behind()
        if gate is not None:
            gate.acquire()
        try:
            yield
        finally:
            with self._changing:
                if self._waiting:
                    self._waiting.popleft().release()  # the turn passes on without having been free
                else:
                    self._taken = False

    def pass_on(self) -> None:
        """Let all who wait have the turn first, then go on with it. Only inside `mine`."""
        with self._changing:
            if not self._waiting:
                return
            gate = self._wait_behind()
            self._waiting.popleft().release()
        gate.acquire()

    def _wait_behind(self) -> threading.Lock:
        """A place at the end: a lock that is released when its turn has come."""
        gate = threading.Lock()
        gate.acquire()
        self._waiting.append(gate)
        return gate
