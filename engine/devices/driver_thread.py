"""The one thread that talks to the driver: a call at a time, each with a deadline. It knows nothing of what is asked.

A driver that hangs can't be interrupted. The caller is told in time and the thread waits on; while it does, further calls
are refused at once instead of queueing up behind it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Final, TypeVar

from engine.devices.troubles import DriverStuck

_T = TypeVar("_T")


class _Call:
    """A call under way."""

    def __init__(self, doing: str, work: Callable[[], None], began_s: float) -> None:
        self.doing: Final = doing
        self.work: Final = work
        self.began_s: Final = began_s
        self.error: BaseException | None = None
        self.over: Final[Future[None]] = Future()
        self.over.set_running_or_notify_cancel()  # from here on, a waiter that is cancelled can't cancel it
        self.is_overdue = False


class DriverThread:
    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic: Final = monotonic
        self._calls: SimpleQueue[_Call | None] | None = None
        self._last: _Call | None = None

    async def run(self, doing: str, call: Callable[[], _T], deadline_s: float) -> _T:
        """What `call` returns or raises on the thread. Raises DriverStuck; what it comes to after that is dropped.

        `doing` completes the sentence "the driver has not answered for 3 s, …".
        """
        if self._last is not None and not self._last.over.done():
            await _wait(self._last, deadline_s, self._monotonic)  # its caller was cancelled, or it is stuck
        results: list[_T] = []
        self._last = under_way = _Call(doing, lambda: results.append(call()), self._monotonic())
        self._queue().put(under_way)
        await _wait(under_way, deadline_s, self._monotonic)
        if under_way.error is not None:
            raise under_way.error
        return results[0]

    def stop(self) -> None:
        """Let the thread end when it has done what it is doing. A later call starts another."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None

    def _queue(self) -> SimpleQueue[_Call | None]:
        if self._calls is None:
            self._calls = SimpleQueue()
            # A daemon: a driver that never answers must not keep the process from ending.
            threading.Thread(target=_work, args=(self._calls,), name="citadel-nvml", daemon=True).start()
        return self._calls


async def _wait(call: _Call, deadline_s: float, monotonic: Callable[[], float]) -> None:
    # Only the first to wait gives the call its deadline. Were each that follows to wait one of its own, a sample of eight cards
    # behind a dead one would take eight deadlines; so all of them are told at once.
    if not call.is_overdue:
        over = asyncio.wrap_future(call.over)
        try:
            await asyncio.wait(
                [over], timeout=deadline_s
            )  # not wait_for: the driver goes on, there is nothing to cancel
        finally:
            over.cancel()
        call.is_overdue = not call.over.done()
    if not call.over.done():
        raise DriverStuck(call.doing, monotonic() - call.began_s)


def _work(calls: SimpleQueue[_Call | None]) -> None:
    while call := calls.get():
        try:
            call.work()
        except BaseException as error:  # the caller's to judge; the thread lives on
            call.error = error
        call.over.set_result(None)
