"""The engine's side of the fork server: starts it, asks it for workers, hears how they end, replaces it when it dies or hangs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from itertools import count
from typing import Final, NamedTuple

from engine.child_environment import child_environment
from engine.core.serialization import from_msgpack, to_msgpack
from engine.worker.client import WorkerDied, WorkerProcess
from engine.worker.protocol import (
    BROKEN_CONTEXT_STATUS,
    MAX_MESSAGE_BYTES,
    Call,
    Exited,
    Fork,
    Forked,
    FromServer,
    Here,
    WorkerConfig,
)

_log: Final = logging.getLogger(__name__)

SERVER_GONE: Final = "ended, and its fork server with it"
_END_GRACE_S: Final = 5.0
_CALL_S: Final = 1.0
"""Between two calls for a sign of life."""
_LONGEST_CALL_S: Final = 2.0
"""No call counts for more: where this process, or the whole machine, stood still, the server had no time to answer."""
NOT_ANSWERING_S: Final = 15.0
"""For a sign of life, before the server is replaced."""
_IMPORT_S: Final = 180.0
"""For the first sign, before which it imports torch."""
BRIEF_SPINNING: Final = {"GOMP_SPINCOUNT": "10000"}
"""For torch's threads. After a copy they would spin for milliseconds by default, on processors that its caller waits for; a tenth
of a millisecond bridges the gaps between the operations of a run as well."""


class _Child(NamedTuple):
    pid: int
    exited: asyncio.Future[str]


class ForkServer:
    """Makes workers from a process that has torch and transformers imported. This process never imports them."""

    def __init__(self, arena_fd: int, not_answering_s: float = NOT_ANSWERING_S) -> None:
        self._arena_fd: Final = arena_fd
        self._not_answering_s: Final = not_answering_s
        self._server: _Connection | None = None
        self._starting: Final = asyncio.Lock()

    async def spawn(self, config: WorkerConfig) -> WorkerProcess:
        """A worker that has said it is ready. Raises WorkerDied when it ends before that."""
        async with self._starting:
            if self._server is None or self._server.lost:
                if self._server is not None:
                    await self._server.close()
                self._server = await _Connection.open(self._not_answering_s)
        worker = await self._server.fork(config, self._arena_fd)
        try:
            await worker.ready()
        except BaseException:
            worker.kill()
            raise
        return worker

    async def close(self) -> None:
        """End the server. Workers are on their own: close them first."""
        if self._server is not None:
            await self._server.close()
            self._server = None


class _Connection:
    """One life of the server process."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, not_answering_s: float) -> None:
        self._process: Final = process
        self._control: Final = control
        self._tickets: Final = count()
        self._forks: Final[dict[int, asyncio.Future[_Child]]] = {}
        self._exits: Final[dict[int, asyncio.Future[str]]] = {}
        self._not_answering_s: Final = not_answering_s
        self._patience_s = _IMPORT_S
        self._silent_s = 0.0
        self._listening: Final = asyncio.create_task(self._listen(), name="fork-server")
        self._calling: Final = asyncio.create_task(self._call(), name="calls to the fork server")

    @classmethod
    async def open(cls, not_answering_s: float) -> _Connection:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            process = await asyncio.to_thread(_start, theirs)
        return cls(process, ours, not_answering_s)

    @property
    def lost(self) -> bool:
        """Whether the process has gone, or is going."""
        return self._listening.done() or self._process.poll() is not None

    async def fork(self, config: WorkerConfig, arena_fd: int) -> WorkerProcess:
        """A new worker, which may not be ready yet. Raises WorkerDied."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ticket = next(self._tickets)
        forked: asyncio.Future[_Child] = asyncio.get_running_loop().create_future()
        self._forks[ticket] = forked
        try:
            with theirs:
                message = to_msgpack(Fork(ticket, config))
                socket.send_fds(self._control, [message], [theirs.fileno(), arena_fd])
            child = await forked
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                raise WorkerDied("the fork server went before it could make a worker") from error
            raise
        finally:
            del self._forks[ticket]
        worker = WorkerProcess(child.pid, child.exited)
        await worker.connect(ours)
        return worker

    async def close(self) -> None:
        """End the process in order: it leaves when its control socket closes."""
        if not self._listening.done():
            with contextlib.suppress(OSError):  # the process may have gone first
                self._control.shutdown(socket.SHUT_RDWR)
        await self._listening
        self._calling.cancel()
        await asyncio.to_thread(_wait, self._process)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while message := await loop.sock_recv(self._control, MAX_MESSAGE_BYTES):
                self._hear(from_msgpack(message, FromServer))
        except ConnectionError:
            pass
        finally:
            self._calling.cancel()
            self._control.close()
        for forked in self._forks.values():
            if not forked.done():
                forked.set_exception(WorkerDied("the fork server ended before it could make a worker"))
        for pid, exited in self._exits.items():
            _watch_orphan(loop, pid, exited)

    async def _call(self) -> None:
        """Ask for signs of life; a server that gives none is killed, which `_listen` hears of. Its workers live on."""
        called_s = time.monotonic()
        while self._silent_s < self._patience_s:
            with contextlib.suppress(OSError):  # full of calls that nobody reads, or about to close
                self._control.send(to_msgpack(Call()))
            await asyncio.sleep(_CALL_S)
            now_s = time.monotonic()
            self._silent_s += min(now_s - called_s, _LONGEST_CALL_S)
            called_s = now_s
        _log.error("the fork server has not answered for %.0f s and is replaced", self._silent_s)
        self._process.kill()

    def _hear(self, message: FromServer) -> None:
        self._silent_s, self._patience_s = 0.0, self._not_answering_s
        match message:
            case Here():
                pass
            case Forked(ticket, pid):
                exited = self._exits[pid] = asyncio.get_running_loop().create_future()
                forked = self._forks.get(ticket)
                if forked is not None and not forked.done():
                    forked.set_result(_Child(pid, exited))
            case Exited(pid, status):
                self._exits.pop(pid).set_result(_describe(status))


def _start(control: socket.socket) -> subprocess.Popen[bytes]:
    environment = child_environment(
        BRIEF_SPINNING | os.environ,  # a person's own word on spinning stands
        TOKENIZERS_PARALLELISM="false",
        PYTORCH_NVML_BASED_CUDA_CHECK="1",  # else a library that asks for a GPU initialises CUDA before the fork
    )
    return subprocess.Popen(
        # -P: not the current folder's modules, which are whatever lies where the user happened to be.
        [sys.executable, "-P", "-m", "engine.worker.server", str(control.fileno()), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        pass_fds=(control.fileno(),),
        env=environment,
        # A terminal's hang-up or ctrl+c is the engine's business. Not a session of its own, though: should the engine go while
        # the server is stopped, the kernel sends SIGHUP to a group that is left behind in its session.
        process_group=0,
    )


def _watch_orphan(loop: asyncio.AbstractEventLoop, pid: int, exited: asyncio.Future[str]) -> None:
    """A worker outlives its server; nobody can tell its exit status then, but that it ended can still be seen."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        exited.set_result(SERVER_GONE)
        return

    def ended() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        exited.set_result(SERVER_GONE)

    loop.add_reader(pidfd, ended)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_END_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _describe(status: int) -> str:
    if status == BROKEN_CONTEXT_STATUS:
        return "ended by itself, because an error of CUDA had made it useless"
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
