"""Slabs are read into shared memory as far as they go, and a read that is taken back stops."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.weights.arena import READ_PIECE_BYTES, Arena
from engine.weights.errors import BadCheckpoint, ReadStopped
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
