"""What a token costs the engine that passes it on, and how late its loop is meanwhile: many streams at once, from a worker that
only talks (`benchmarks.talker`), through the whole engine, to clients in another process (`benchmarks.listener`).
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from benchmarks.asked import Sample
from benchmarks.heartbeat import Beat, heartbeat
from engine.core.ranks import nearest_rank
from engine.paths import Paths
from engine.worker.client import WorkerProcess
from tests.runtime.live_engines import scripted_engine
from tests.service.serving import serving

STREAMS: Final = 64
PACE_S: Final = 0.02
_MODEL: Final = "phi-3-mini"


class StreamFigures(Struct, frozen=True):
    """Of one round."""

    cpu_s: float
    """The loop's thread's processor time for another token of a stream, with nobody else on the loop."""
    beats: tuple[Beat, ...]
    """How late the loop was, in as many tokens more."""


async def stream_samples(tokens: int) -> dict[str, Sample]:
    """Of a round: 64 streams of so many tokens each, 50 a second."""
    gc.freeze()  # as an engine's own process does with what it has imported
    found = await stream_figures(STREAMS, tokens, PACE_S)
    late_s = [beat.late_s for beat in found.beats]
    own_s = [max(0.0, beat.late_s - beat.queued_s) for beat in found.beats]
    by_share = {"p99 with that": nearest_rank(late_s, 0.99), "p50 with that": nearest_rank(late_s, 0.5)}
    return {
        "stream-token": Sample(1e6 * found.cpu_s),
        "stream-late": Sample(1e3 * nearest_rank(own_s, 0.99), by_share),
    }


async def stream_figures(streams: int, tokens: int, pace_s: float) -> StreamFigures:
    """`streams` at once of so many tokens each, one every `pace_s`; 0: as fast as they go. Raises SystemExit when one is lost."""
    with tempfile.TemporaryDirectory(prefix="citadel-bench-") as folder:
        async with _talker(pace_s) as talker:
            paths = Paths(Path(folder, "run"), Path(folder, "state"), Path(folder, "cache"))
            paths.journal.mkdir(parents=True)
            async with scripted_engine(paths.journal) as box, serving(box.engine, paths):
                for worker in box.spawner.workers.values():
                    worker.runs_by = talker
                few = tokens // 5
                # What a stream costs to begin and to end is in both.
                few_s, many_s = await _cpu_s(paths, streams, few), await _cpu_s(paths, streams, tokens)
                beats = list[Beat]()
                async with heartbeat(beats):
                    await _listen(paths, streams, tokens)
    return StreamFigures((many_s - few_s) / (streams * (tokens - few)), tuple(beats))


async def _cpu_s(paths: Paths, streams: int, tokens: int) -> float:
    """The processor time of this thread while clients in another process listen."""
    began_s = time.thread_time()
    await _listen(paths, streams, tokens)
    return time.thread_time() - began_s


async def _listen(paths: Paths, streams: int, tokens: int) -> None:
    command = (sys.executable, "-m", "benchmarks.listener", str(paths.socket), _MODEL, str(streams), str(tokens))
    listener = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    heard, _ = await listener.communicate()
    if int(heard) != streams * tokens:
        raise SystemExit(f"{int(heard)} parts came of {streams * tokens}; this run is worth nothing")


@asynccontextmanager
async def _talker(pace_s: float) -> AsyncIterator[WorkerProcess]:
    ours, its = socket.socketpair()
    with its:
        command = (sys.executable, "-m", "benchmarks.talker", str(its.fileno()), str(pace_s))
        process = await asyncio.create_subprocess_exec(*command, pass_fds=[its.fileno()])
    ended: asyncio.Future[str] = asyncio.ensure_future(_ended(process))
    talker = WorkerProcess(process.pid, ended)
    await talker.connect(ours)
    await talker.ready()
    try:
        yield talker
    finally:
        await talker.close()


async def _ended(process: asyncio.subprocess.Process) -> str:
    return f"exited with status {await process.wait()}"
