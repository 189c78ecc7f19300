"""The engine's side of one worker process: requests by number, answers as they come, and how the process ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import Final

import msgspec

from engine.core.tasks import TaskPart
from engine.worker.framing import BrokenStream, FrameStream
from engine.worker.protocol import Advanced, FromWorker, Ready, Reply, Request, Run, RunPart, WorkerNews

CLOSE_GRACE_S: Final = 3.0
"""How long a worker may take to end by itself."""
EXIT_NEWS_S: Final = 5.0
"""How long the word of a process's end may come after its stream has closed."""


class WorkerDied(Exception):
    """The process ended while it owed an answer. The text says how: "killed by SIGKILL", "exited with status 1"."""


class _Pending(msgspec.Struct):
    answer: asyncio.Future[Reply]
    on_advance: Callable[[float], None]
    on_part: Callable[[TaskPart], None]


def _ignore(_: object) -> None: ...


class WorkerProcess:
    """A live worker process."""

    def __init__(self, pid: int, exited: asyncio.Future[str]) -> None:
        self._pid: Final = pid
        self._exited: Final = exited
        """Gets the words for how the process ended."""
        self._stream: Final[FrameStream[FromWorker]] = FrameStream(FromWorker, self._hear)
        self._ready: Final[asyncio.Future[Ready]] = asyncio.get_running_loop().create_future()
        self._pending: Final[dict[int, _Pending]] = {}
        self._listening: Final = asyncio.create_task(self._listen(), name=f"worker-{pid}")

    async def connect(self, stream: socket.socket) -> None:
        """Begin to talk to it over `stream`, which belongs to this object from now on."""
        await self._stream.connect(stream)

    @property
    def pid(self) -> int:
        return self._pid

    async def ready(self) -> Ready:
        """The worker's first word. Raises WorkerDied when it ends before that."""
        return await asyncio.shield(self._ready)

    async def request(
        self,
        request: Request,
        on_advance: Callable[[float], None] = _ignore,
        on_part: Callable[[TaskPart], None] = _ignore,
    ) -> Reply:
        """The worker's answer; before it, how far a Prepare is, and the parts of a Run. Requests run side by side. Raises
        WorkerDied. Cancelling drops the answer, not the work."""
        if self._listening.done():
            raise WorkerDied(await self.died())
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending[request.id] = _Pending(answer, on_advance, on_part)
        try:
            send = self._stream.send_soon if isinstance(request, Run) else self._stream.send
            send(request)
            return await answer
        finally:
            self._pending.pop(request.id, None)

    def tell(self, news: WorkerNews) -> None:
        """Say something that has no answer; nothing happens when the process has ended."""
        self._stream.send(news)

    async def died(self) -> str:
        """Waits until the process has ended; how it ended, in words."""
        return await asyncio.shield(self._exited)

    def kill(self) -> None:
        """End the process at once."""
        if not self._exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    async def close(self) -> None:
        """Let the process end by itself, and kill it after a few seconds if it does not."""
        self._stream.send_end()
        try:
            async with asyncio.timeout(CLOSE_GRACE_S):
                await self.died()
        except TimeoutError:
            self.kill()
            await self.died()
        await self._listening

    async def _listen(self) -> None:
        try:
            await self._stream.ended
        except BrokenStream:
            self.kill()  # what it says can't be trusted any more
        self._disappoint(WorkerDied(await self._end_of_process()))

    def _hear(self, message: FromWorker) -> None:
        if isinstance(message, Ready):
            self._ready.set_result(message)
            return
        pending = self._pending.get(message.id)
        if pending is None:
            return  # whoever asked has left: the work goes on all the same, and answers
        match message:
            case Advanced(done=done):
                pending.on_advance(done)
            case RunPart(part=part):
                pending.on_part(part)
            case _:
                if not pending.answer.done():
                    pending.answer.set_result(message)

    async def _end_of_process(self) -> str:
        """A process without its stream is of no use: wait for its end a little, then bring it about."""
        try:
            async with asyncio.timeout(EXIT_NEWS_S):
                return await self.died()
        except TimeoutError:
            self.kill()
            return await self.died()

    def _disappoint(self, died: WorkerDied) -> None:
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(died)
        if not self._ready.done():
            self._ready.set_exception(died)
            self._ready.exception()  # asked for here, since nobody may be waiting for it any more
