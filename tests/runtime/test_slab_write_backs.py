"""How a slab gets back from a device into the RAM tier, with a scripted tier and a worker that answers what the test says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.runtime.slab_transfers import SlabWriteBacks
from engine.scheduler.effects import WriteBackSlab
from engine.scheduler.messages import Message, SlabNotWrittenBack, SlabWrittenBack
from engine.weights.shared_memory import Region
from engine.worker.client import WorkerDied
from engine.worker.protocol import Failure, Reply, Request, WriteBack, WrittenBack
from tests.runtime.scripted_workers import ScriptedStore

EFFECT = WriteBackSlab("a", "gpu0", 4096)
REGION = Region(0, 4096)


class StandIn:
    """Stands for the executor: one answer for the worker, and what was reported and given up."""

    def __init__(self, answer: Reply | WorkerDied) -> None:
        self.store = ScriptedStore({}, {})
        self.answer = answer
        self.asked: list[Request] = []
        self.told: list[Message] = []
        self.given_up: list[Region] = []
        self.write_backs = SlabWriteBacks(self.store, self.told.append, self._ask, self._give_up)

    async def _ask(self, device: str, make: Callable[[int], Request]) -> Reply:
        assert device == "gpu0"
        assert not self.store.held, "a load could read what is not there yet"
        self.asked.append(make(7))
        if isinstance(self.answer, WorkerDied):
            raise self.answer
        return self.answer

    async def _give_up(self, region: Region) -> None:
        self.given_up.append(region)


async def test_a_slab_can_be_read_once_all_of_it_is_back() -> None:
    executor = StandIn(WrittenBack(7, 0.25))
    await executor.write_backs.write_back(EFFECT)

    assert executor.asked == [WriteBack(7, "a", REGION.offset, REGION.length)]
    assert executor.store.held == {"a"}
    assert executor.told == [SlabWrittenBack("a", "gpu0", 4096, 0.25)]
    assert not executor.given_up


@pytest.mark.parametrize(
    "answer", [Failure(7, "bad checkpoint", "the model was prepared anew"), WorkerDied("killed by SIGKILL")], ids=str
)
async def test_a_copy_that_fails_gives_its_region_up(
    answer: Reply | WorkerDied, caplog: pytest.LogCaptureFixture
) -> None:
    executor = StandIn(answer)
    await executor.write_backs.write_back(EFFECT)

    assert executor.told == [SlabNotWrittenBack("a")]
    assert executor.given_up == [REGION]
    assert not executor.store.held
    why = answer.message if isinstance(answer, Failure) else "its worker killed by SIGKILL"
    assert f"a was not written back from gpu0: {why}" in caplog.text


async def test_a_full_arena_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    executor = StandIn(WrittenBack(7, 0.25))
    executor.store.free_bytes = 0
    await executor.write_backs.write_back(EFFECT)

    assert executor.told == [SlabNotWrittenBack("a")]
    assert not executor.asked
    assert "a was not written back from gpu0: the RAM tier has no room in one piece for a" in caplog.text
