"""A worker process for a card: what it says where there is none, and what of it works on any machine."""

from __future__ import annotations

import pytest
import torch

from engine.core.models import Limits
from engine.weights.arena import Arena
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared
from engine.worker import protocol
from engine.worker.cuda_device import TorchCuda
from engine.worker.errors import DeviceUnusable
from engine.worker.forkserver import ForkServer
from engine.worker.protocol import Bind, Failure, Unlock, Unlocked
from tests.worker.models import prepare_random

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a CUDA device"),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare_random("bert", tmp_path_factory.mktemp("models"))[1]


def config(arena: Arena, backing: str) -> protocol.WorkerConfig:
    return protocol.WorkerConfig("gpu0", backing, 1 << 30, protocol.ArenaSize(arena.size_bytes), page_locks=True)


async def test_a_worker_is_ready_before_cuda_is_looked_for_and_then_says_what_is_wrong(
    fork_server: ForkServer, arena: Arena, prepared: Prepared
) -> None:
    worker = await fork_server.spawn(config(arena, "cuda:0"))
    request = Bind(1, "m", str(prepared.folder), prepared.layout_id, 0, prepared.length, 0, "embedding", Limits())
    refused = await worker.request(request)
    assert isinstance(refused, Failure)
    assert refused.kind == "device unusable"
    assert refused.message.startswith("CUDA can't be used: ")
    assert refused.message.endswith("`citadel doctor` says what to do")
    await worker.close()


async def test_a_worker_without_page_locks_has_nothing_to_unlock(fork_server: ForkServer, arena: Arena) -> None:
    worker = await fork_server.spawn(config(arena, "ram"))
    region = Region(0, 4096)
    assert await worker.request(Unlock(7, region.offset, region.length)) == Unlocked(7)
    await worker.close()


async def test_torch_without_cuda_is_refused_in_its_own_words() -> None:
    with pytest.raises(DeviceUnusable, match=r"^CUDA can't be used: .*[^.]\. `citadel doctor` says what to do$"):
        TorchCuda(0).open()
