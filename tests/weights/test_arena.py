"""Slabs are read into shared memory as far as they go, and a read that is taken back stops."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.weights.arena import READ_PIECE_BYTES, Arena
from engine.weights.block_sums import BlockSums, block_sum
from engine.weights.errors import BadCheckpoint, DamagedSlab, ReadStopped
from engine.weights.layout import BLOCK_BYTES
from engine.weights.shared_memory import Region

MIB = 1 << 20


@pytest.fixture
def arena() -> Iterator[Arena]:
    arena = Arena(64 * MIB)
    yield arena
    arena.close()


def taken(arena: Arena, length: int) -> Region:
    region = arena.allocate(length)
    assert region is not None
    return region


def test_a_file_is_read_straight_into_its_region(arena: Arena, tmp_path: Path) -> None:
    taken(arena, 5000)
    region = taken(arena, 3000)
    path = tmp_path / "slab"
    path.write_bytes(b"header" + bytes(range(250)) * 12)
    arena.read_file(path, len(b"header"), region, lambda _: None, threading.Event())
    with arena.view(region) as view:
        assert bytes(view) == bytes(range(250)) * 12


def test_a_worker_that_maps_the_descriptor_sees_the_bytes(arena: Arena, tmp_path: Path) -> None:
    region = taken(arena, 4)
    path = tmp_path / "slab"
    path.write_bytes(b"seen")
    arena.read_file(path, 0, region, lambda _: None, threading.Event())
    with mmap.mmap(arena.fd, arena.size_bytes) as other:
        assert other[region.offset : region.offset + 4] == b"seen"


def test_what_has_been_read_grows_to_all(arena: Arena, tmp_path: Path) -> None:
    region = taken(arena, READ_PIECE_BYTES + 1)
    path = tmp_path / "slab"
    path.write_bytes(bytes(READ_PIECE_BYTES + 1))
    counts: list[int] = []
    arena.read_file(path, 0, region, counts.append, threading.Event())
    assert counts == [READ_PIECE_BYTES, READ_PIECE_BYTES + 1]


def test_a_stopped_read_ends_at_the_next_piece(arena: Arena, tmp_path: Path) -> None:
    region = taken(arena, 2 * READ_PIECE_BYTES)
    path = tmp_path / "slab"
    path.write_bytes(bytes(2 * READ_PIECE_BYTES))
    stop = threading.Event()
    with pytest.raises(ReadStopped, match="taken back"):
        arena.read_file(path, 0, region, lambda _: stop.set(), stop)


def test_a_short_file_is_reported_with_what_is_missing(arena: Arena, tmp_path: Path) -> None:
    path = tmp_path / "slab"
    path.write_bytes(bytes(10))
    with pytest.raises(BadCheckpoint, match="90 bytes too soon"):
        arena.read_file(path, 0, taken(arena, 100), lambda _: None, threading.Event())


def test_a_missing_file_is_reported_by_name(arena: Arena, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="nowhere can't be read"):
        arena.read_file(tmp_path / "nowhere", 0, taken(arena, 100), lambda _: None, threading.Event())


BLOCKS = bytes(BLOCK_BYTES) + b"1" * BLOCK_BYTES + b"the last one is short"
SUMS = [block_sum(memoryview(BLOCKS)[begin : begin + BLOCK_BYTES]) for begin in range(0, len(BLOCKS), BLOCK_BYTES)]


def test_bytes_that_are_right_are_read_as_without_sums(arena: Arena, tmp_path: Path) -> None:
    region = taken(arena, len(BLOCKS))
    (tmp_path / "slab").write_bytes(b"header" + BLOCKS)

    arena.read_file(tmp_path / "slab", 6, region, lambda _: None, threading.Event(), SUMS)

    with arena.view(region) as view:
        assert bytes(view) == BLOCKS


@pytest.mark.parametrize("byte", [0, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 20])
def test_a_flipped_bit_ends_the_reading_at_its_block_and_nothing_of_its_piece_is_told(
    byte: int, arena: Arena, tmp_path: Path
) -> None:
    damaged = bytearray(BLOCKS)
    damaged[byte] ^= 16
    (tmp_path / "slab").write_bytes(b"header" + damaged)
    told: list[int] = []

    block = byte // BLOCK_BYTES
    with pytest.raises(DamagedSlab, match=f"the MiB from byte {6 + block * BLOCK_BYTES} on is not what was prepared"):
        arena.read_file(tmp_path / "slab", 6, taken(arena, len(BLOCKS)), told.append, threading.Event(), SUMS)
    assert told == []


@pytest.mark.parametrize("part", [1, 1000, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, len(BLOCKS)])
def test_sums_do_not_depend_on_the_parts_in_which_the_bytes_came(part: int) -> None:
    data = BLOCKS if part > 1 else BLOCKS[-5000:]
    sums = BlockSums()
    for begin in range(0, len(data), part):
        sums.update(data[begin : begin + part])

    assert list(sums.finish()) == [
        block_sum(memoryview(data)[begin : begin + BLOCK_BYTES]) for begin in range(0, len(data), BLOCK_BYTES)
    ]
