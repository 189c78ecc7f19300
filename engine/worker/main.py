"""The worker process: sets up its device's memory, then reads requests, hands each to the lane where it may take its time, and
sends the answers."""

from __future__ import annotations

import mmap
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeAlias, assert_never

import torch

from engine.core.tasks import TaskPart
from engine.devices.visible import VISIBLE
from engine.worker.convert import prepare
from engine.worker.cuda import CudaBacking
from engine.worker.cuda_device import ONLY_CARD, TorchCuda, cuda_ordinal, see_only
from engine.worker.errors import failure_of
from engine.worker.framing import encode_frame, receive
from engine.worker.memory import Backing, HostBacking, RamBacking
from engine.worker.prepare_request import in_hundredths
from engine.worker.protocol import (
    BROKEN_CONTEXT_STATUS,
    Advanced,
    Bind,
    Converted,
    FromWorker,
    LeaveRun,
    Ping,
    Pong,
    Prepare,
    Ready,
    Release,
    Reply,
    Run,
    RunEnded,
    RunPart,
    SlabGrew,
    SlabStopped,
    ToWorker,
    Unlock,
    WorkerConfig,
    WriteBack,
)
from engine.worker.residents import Residents
from engine.worker.running import RunOutcome, breaks_the_context
from engine.worker.slab_stream import SlabStream

Work: TypeAlias = Bind | WriteBack | Release | Prepare | Unlock
"""What is answered once it has been done, by a lane of the worker's own; runs have the lanes of their models."""


def run_worker(config: WorkerConfig, stream: socket.socket, arena_fd: int) -> None:
    """Serve the engine until it closes its end of the stream."""
    torch.set_num_threads(config.threads)
    arena = mmap.mmap(arena_fd, config.arena.size_bytes)
    name = config.backing
    if (ordinal := cuda_ordinal(name)) is not None:
        # Before anything can ask for a GPU: CUDA reads the variable once, when it is initialised.
        if config.card is None:
            see_only(ordinal)
        else:
            os.environ[VISIBLE] = config.card
        name = ONLY_CARD
    backing = backing_for(name, arena, config.limit_bytes, config.page_locks, config.touched_bytes, config.keeps_pages)
    worker = Worker(Residents(backing), stream)
    worker.send(Ready(os.getpid(), str(torch.__version__)))
    while (message := receive(stream, ToWorker)) is not None:
        worker.take(message)
    # what still runs has nobody left to answer: the caller ends the process without waiting for it


class Worker:
    """Sends each request to its lane. A load that waits for its slab holds up no release, and a running model neither."""

    def __init__(
        self, residents: Residents, stream: socket.socket, end_process: Callable[[int], object] = os._exit
    ) -> None:
        self._residents: Final = residents
        self._stream: Final = stream
        self._end_process: Final = end_process
        self._sending: Final = threading.Lock()
        self._readings: Final[dict[int, SlabStream]] = {}
        """Of loads under way, by their number."""
        self._load_lanes: Final = ThreadPoolExecutor(thread_name_prefix="load")
        self._release_lane: Final = ThreadPoolExecutor(1, thread_name_prefix="release")
        self._prepare_lane: Final = ThreadPoolExecutor(1, thread_name_prefix="prepare")

    def take(self, message: ToWorker) -> None:
        """Start a request, in the lane that it belongs to; news reach the load that waits for them."""
        match message:
            case SlabGrew(bind, read_bytes):
                if reading := self._readings.get(bind):
                    reading.advance(read_bytes)
            case SlabStopped(bind, reason):
                if reading := self._readings.get(bind):
                    reading.stop(reason)
            case LeaveRun(run):
                self._residents.leave(run)
            case Ping(number):
                # On the thread that hears the engine: what answers is the process, however long its lanes take.
                self.send(Pong(number, self._residents.steps()))
            case Run():
                self._run(message)
            case _:
                self._start(message)

    def send(self, message: FromWorker) -> None:
        """Tell the engine; nothing happens when it has gone."""
        try:
            with self._sending:  # lanes answer side by side, and a frame must not begin within another
                self._stream.sendall(encode_frame(message))
        except OSError:
            return  # the receiving side sees the closed stream too, and ends the process

    def _run(self, request: Run) -> None:
        def say(part: TaskPart) -> None:
            self.send(RunPart(request.id, part))

        def end(came: RunOutcome) -> None:
            self.send(
                RunEnded(request.id, came.result, came.workspace_bytes, came.filled, came.used_bytes, came.device_s)
            )

        try:
            self._residents.run(request, say, end, lambda error: self._failed(request.id, error))
        except Exception as error:
            self._failed(request.id, error)

    def _start(self, request: Work) -> None:
        if isinstance(request, Bind):
            # Here, on the thread that hears the engine, and not in the lane: news of the slab may be the very next message.
            there_bytes = request.length if request.read_bytes is None else request.read_bytes
            self._readings[request.id] = SlabStream(request.length, there_bytes)
        try:
            self._lane(request).submit(self._answer, request)
        except Exception as error:
            self.send(failure_of(request.id, error))

    def _lane(self, request: Work) -> ThreadPoolExecutor:
        match request:
            case Bind() | WriteBack():
                return self._load_lanes
            case Release() | Unlock():
                return self._release_lane
            case Prepare():
                return self._prepare_lane
            case _:
                assert_never(request)

    def _answer(self, request: Work) -> None:
        try:
            self.send(self._carry_out(request))
            if isinstance(request, Release):
                self._residents.tidy()  # after the answer: the engine counts the time until it as the eviction's
        except Exception as error:
            self._failed(request.id, error)
        finally:
            self._readings.pop(request.id, None)

    def _failed(self, number: int, error: Exception) -> None:
        self.send(failure_of(number, error))
        if breaks_the_context(error):
            # Answered first: whoever waits gets the error itself and not only "the worker died". CUDA would give every later
            # call in this process the same one, so the engine starts another worker and loads the residents again.
            self._end_process(BROKEN_CONTEXT_STATUS)

    def _carry_out(self, request: Work) -> Reply:
        match request:
            case Bind():
                return self._residents.bind(request, self._readings[request.id])
            case WriteBack():
                return self._residents.write_back(request)
            case Release():
                return self._residents.release(request)
            case Unlock():
                return self._residents.unlock(request)
            case Prepare():
                tell = in_hundredths(lambda done: self.send(Advanced(request.id, done)))
                return Converted(request.id, prepare(request, tell).length)
            case _:
                assert_never(request)


def backing_for(
    backing: str,
    arena: mmap.mmap,
    limit_bytes: int | None,
    page_locks: bool = False,
    touched_bytes: int = 0,
    keeps_pages: bool = True,
) -> Backing:
    """The memory of that name, as a worker's configuration has it.

    `page_locks`: whether the RAM tier may be page-locked, which it is only for a card. `touched_bytes`: how much of a device in
    host RAM is touched ahead. `keeps_pages`: whether it keeps pages of models that have left.
    """
    if (ordinal := cuda_ordinal(backing)) is not None:
        return CudaBacking(TorchCuda(ordinal), arena, limit_bytes, page_locks)
    match backing, limit_bytes:
        case "ram", int(size_bytes):
            return RamBacking(arena, size_bytes, touched_bytes, keeps_pages)
        case "host", int(size_bytes):
            return HostBacking(arena, size_bytes)
        case "none", _:
            return RamBacking(arena, 0)
        case _:
            raise ValueError(
                f"there is no backing {backing!r} of {limit_bytes} bytes; there are ram, host, cuda:N and none"
            )
