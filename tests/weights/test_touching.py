from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from engine.weights.shared_memory import TOUCH_PIECE_BYTES, SparseMemory, Touching

MIB = 1 << 20


@pytest.fixture
def memory() -> Iterator[SparseMemory]:
    memory = SparseMemory("test", 16 * MIB)
    yield memory
    memory.close()


def taken_bytes(memory: SparseMemory) -> int:
    return os.fstat(memory.fd).st_blocks * 512


def test_what_is_asked_for_is_there_before_its_first_use_and_no_more(memory: SparseMemory) -> None:
    touching = Touching(memory, 5 * MIB)
    touching.start()
    touching.wait()
    assert taken_bytes(memory) == 5 * MIB


def test_never_more_than_the_memory_may_hold(memory: SparseMemory) -> None:
    touching = Touching(memory, 1 << 40)
    touching.start()
    touching.wait()
    assert taken_bytes(memory) == 16 * MIB


def test_what_a_region_holds_already_stays(memory: SparseMemory) -> None:
    memory.mapping[MIB : MIB + 4] = b"kept"
    touching = Touching(memory, 2 * MIB)
    touching.start()
    touching.wait()
    assert memory.mapping[MIB : MIB + 4] == b"kept"


def test_nothing_is_touched_while_it_is_paused(memory: SparseMemory) -> None:
    touching = Touching(memory, 16 * MIB)
    with touching.paused():
        touching.start()
        assert taken_bytes(memory) == 0
    touching.wait()
    assert taken_bytes(memory) == 16 * MIB


def test_it_ends_at_the_next_piece_when_it_is_told(memory: SparseMemory) -> None:
    touching = Touching(memory, 16 * MIB)
    with touching.paused():
        touching.start()
        touching.end()
    assert taken_bytes(memory) <= TOUCH_PIECE_BYTES


def test_nothing_to_touch_is_nothing_to_wait_for(memory: SparseMemory) -> None:
    touching = Touching(memory, 0)
    touching.start()
    touching.end()
    assert taken_bytes(memory) == 0
