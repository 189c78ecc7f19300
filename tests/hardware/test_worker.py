"""Worker processes on slices of one card, forked from the real fork server."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from itertools import count

import numpy as np
import pytest
import pytest_asyncio
import torch

from engine.core.models import Limits
from engine.core.sizes import MIB
from engine.core.tasks import Embed, Vectors
from engine.weights.arena import Arena
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared
from engine.worker import protocol
from engine.worker.client import WorkerProcess
from engine.worker.forkserver import ForkServer
from engine.worker.protocol import Bind, Bound, Failure, Release, Released, Run, RunEnded, Unlock, Unlocked
from tests.worker.small_recipes import SMALL_EMBEDDER, prepare_small

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLICE_BYTES = 1536 * MIB
ROUNDING_BYTES = 64 * MIB
ids = count(1)


@pytest.fixture(scope="session")
def slab(arena: Arena, tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Region]:
    """A small embedder, prepared and read into the RAM tier."""
    prepared = prepare_small(SMALL_EMBEDDER, tmp_path_factory.mktemp("models"))
    region = arena.allocate(prepared.length)
    assert region is not None
    arena.read_file(prepared.slab_path, prepared.data_offset, region, lambda _: None, threading.Event())
    return prepared, region


def config(arena: Arena, backing: str) -> protocol.WorkerConfig:
    return protocol.WorkerConfig("gpu0", backing, SLICE_BYTES, protocol.ArenaSize(arena.size_bytes), page_locks=True)


@pytest_asyncio.fixture(loop_scope="session")
async def slices(fork_server: ForkServer, arena: Arena) -> AsyncIterator[list[WorkerProcess]]:
    """Two workers on one card, as two devices."""
    workers = [await fork_server.spawn(config(arena, "cuda:0")) for _ in range(2)]
    yield workers
    for worker in workers:
        await worker.close()


def binding(slab: tuple[Prepared, Region], workspace_bytes: int = MIB) -> Bind:
    prepared, region = slab
    made = (str(prepared.folder), prepared.layout_id)
    return Bind(next(ids), "m", *made, region.offset, region.length, workspace_bytes, "embedding", Limits())


async def test_two_slices_of_one_card_answer_alike_and_give_everything_back(
    slices: list[WorkerProcess], slab: tuple[Prepared, Region]
) -> None:
    answers = []
    for worker in slices:
        bound = await worker.request(binding(slab))
        assert isinstance(bound, Bound), bound
        assert bound.card is not None
        assert bound.used_bytes <= SLICE_BYTES
        embedded = await worker.request(
            Run(
                next(ids),
                "m",
                Embed(
                    (
                        "a cat",
                        "a kitten",
                    )
                ),
            )
        )
        assert isinstance(embedded, RunEnded), embedded
        assert embedded.workspace_bytes is not None
        answers.append(embedded.result)
    assert answers[0] == answers[1]
    for worker in slices:
        released = await worker.request(Release(next(ids), "m"))
        assert isinstance(released, Released), released
        assert released.leaked_bytes == 0
        assert isinstance(await worker.request(Unlock(next(ids), slab[1].offset, slab[1].length)), Unlocked)


async def test_a_card_answers_as_the_cpu_does(
    slices: list[WorkerProcess], fork_server: ForkServer, arena: Arena, slab: tuple[Prepared, Region]
) -> None:
    cpu = await fork_server.spawn(config(arena, "host"))
    vectors = []
    for worker in (slices[0], cpu):
        await worker.request(binding(slab))
        embedded = await worker.request(
            Run(
                next(ids),
                "m",
                Embed(
                    (
                        "a cat",
                        "a stock market",
                    )
                ),
            )
        )
        assert isinstance(embedded, RunEnded), embedded
        assert isinstance(embedded.result, Vectors)
        vectors.append(embedded.result.rows())
    await cpu.close()
    np.testing.assert_allclose(vectors[0], vectors[1], atol=2e-3)


async def test_a_load_beyond_a_slice_is_refused_and_its_neighbour_is_not_touched(
    slices: list[WorkerProcess], slab: tuple[Prepared, Region]
) -> None:
    first, second = slices
    assert isinstance(await second.request(binding(slab)), Bound)
    refused = await first.request(binding(slab, workspace_bytes=SLICE_BYTES))
    assert isinstance(refused, Failure)
    assert refused.kind == "out of memory"
    assert "of 1.5 GiB free" in refused.message
    assert isinstance(await second.request(Run(next(ids), "m", Embed(("x",)))), RunEnded)


async def test_a_worker_that_ends_gives_its_context_back(
    fork_server: ForkServer, arena: Arena, slab: tuple[Prepared, Region]
) -> None:
    torch.cuda.synchronize()
    before_bytes = torch.cuda.mem_get_info(0)[0]
    worker = await fork_server.spawn(config(arena, "cuda:0"))
    bound = await worker.request(binding(slab))
    assert isinstance(bound, Bound), bound
    assert before_bytes - torch.cuda.mem_get_info(0)[0] >= ROUNDING_BYTES
    await worker.close()
    assert before_bytes - torch.cuda.mem_get_info(0)[0] < ROUNDING_BYTES


async def test_a_card_that_is_not_there_is_said_in_words(
    fork_server: ForkServer, arena: Arena, slab: tuple[Prepared, Region]
) -> None:
    worker = await fork_server.spawn(config(arena, f"cuda:{torch.cuda.device_count()}"))
    refused = await worker.request(binding(slab))
    assert isinstance(refused, Failure)
    assert refused.message.startswith("CUDA can't be used: ")
    await worker.close()
