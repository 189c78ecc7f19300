"""The worker process's loop: reads requests, hands each to the lane where it may take its time, sends the answers."""

from __future__ import annotations

import mmap
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, assert_never

import msgspec
import torch

from engine.devices.visible import VISIBLE
from engine.worker.convert import prepare
from engine.worker.cuda import CudaBacking
from engine.worker.cuda_device import ONLY_CARD, TorchCuda, cuda_ordinal, see_only
from engine.worker.embedding import Embedder
from engine.worker.errors import BadRequest, failure_of
from engine.worker.framing import encode_frame, receive
from engine.worker.generation import Generator
from engine.worker.memory import Backing, HostBacking, RamBacking
from engine.worker.prepare_request import in_hundredths
from engine.worker.protocol import (
    BROKEN_CONTEXT_STATUS,
    Advanced,
    Bind,
    Converted,
    Embed,
    Embedded,
    FromWorker,
    Generate,
    Generated,
    Prepare,
    Ready,
    Release,
    Reply,
    Request,
    SlabGrew,
    SlabStopped,
    ToWorker,
    Unlock,
    WorkerConfig,
    WriteBack,
)
from engine.worker.residents import Residents
from engine.worker.running import breaks_the_context
from engine.worker.slab_stream import SlabStream


def backing_for(
    backing: str, arena: mmap.mmap, limit_bytes: int, page_locks: bool = False, touched_bytes: int = 0
) -> Backing:
    """`page_locks`: whether the RAM tier may be page-locked, which it is only for a card. `touched_bytes`: how much of a
    device in host RAM is touched ahead."""
    match backing:
        case "ram":
            return RamBacking(arena, limit_bytes, touched_bytes)
        case "host":
            return HostBacking(arena, limit_bytes)
        case "none":
            return RamBacking(arena, 0)
    ordinal = cuda_ordinal(backing)
    if ordinal is None:
        raise ValueError(f"there is no backing {backing!r}; there are ram, host, cuda:N and none")
    return CudaBacking(TorchCuda(ordinal), arena, limit_bytes, page_locks)


def run_worker(config: WorkerConfig, stream: socket.socket, arena_fd: int) -> None:
    """Serve the engine until it closes its end of the stream."""
    torch.set_num_threads(config.threads)
    arena = mmap.mmap(arena_fd, config.arena.size_bytes)
    name = config.backing
    if (ordinal := cuda_ordinal(name)) is not None:
        if config.card is None:
            see_only(ordinal)
        else:
            os.environ[VISIBLE] = config.card
        name = ONLY_CARD
    backing = backing_for(name, arena, config.limit_bytes, config.page_locks, config.touched_bytes)
    worker = Worker(Residents(backing), stream)
    worker.send(Ready(os.getpid(), str(torch.__version__)))
    decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
    while (message := receive(stream, decoder)) is not None:
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
            case _:
                self._start(message)

    def _start(self, request: Request) -> None:
        if isinstance(request, Bind):
            there_bytes = request.length if request.read_bytes is None else request.read_bytes
            self._readings[request.id] = SlabStream(request.length, there_bytes)
        try:
            self._lane(request).submit(self._answer, request)
        except Exception as error:
            self.send(failure_of(request.id, error))

    def send(self, message: FromWorker) -> None:
        """Tell the engine; nothing happens when it has gone."""
        try:
            with self._sending:
                self._stream.sendall(encode_frame(message))
        except OSError:
            return  # the receiving side sees the closed stream too, and ends the process

    def _lane(self, request: Request) -> ThreadPoolExecutor:
        match request:
            case Bind() | WriteBack():
                return self._load_lanes
            case Release() | Unlock():
                return self._release_lane
            case Prepare():
                return self._prepare_lane
            case Embed() | Generate():
                return self._residents.find(request.model).lane
            case _:
                assert_never(request)

    def _answer(self, request: Request) -> None:
        try:
            self.send(self._carry_out(request))
            if isinstance(request, Release):
                self._residents.tidy()
        except Exception as error:
            self.send(failure_of(request.id, error))
            if breaks_the_context(error):
                self._end_process(BROKEN_CONTEXT_STATUS)
        finally:
            self._readings.pop(request.id, None)

    def _carry_out(self, request: Request) -> Reply:
        match request:
            case Bind():
                return self._residents.bind(request, self._readings[request.id])
            case WriteBack():
                return self._residents.write_back(request)
            case Release():
                return self._residents.release(request)
            case Unlock():
                return self._residents.unlock(request)
            case Embed():
                return self._embed(request)
            case Generate():
                return self._generate(request)
            case Prepare():
                return Converted(request.id, prepare(request, in_hundredths(self._teller(request.id))).length)
            case _:
                assert_never(request)

    def _embed(self, request: Embed) -> Embedded:
        runner = self._residents.find(request.model).runner
        if not isinstance(runner, Embedder):
            raise BadRequest(f"{request.model} generates text; it makes no embeddings")
        with self._residents.measure() as took:
            vectors, filled = runner.embed(request.texts)
        return Embedded(request.id, vectors.shape[1], vectors.numpy().tobytes(), took.workspace_bytes, filled)

    def _generate(self, request: Generate) -> Generated:
        runner = self._residents.find(request.model).runner
        if not isinstance(runner, Generator):
            raise BadRequest(f"{request.model} makes embeddings; it generates no text")
        with self._residents.measure() as took:
            text, tokens, filled = runner.generate(request.prompt, request.max_tokens)
        return Generated(request.id, text, tokens, took.workspace_bytes, filled)

    def _teller(self, request_id: int) -> Callable[[float], None]:
        return lambda done: self.send(Advanced(request_id, done))
