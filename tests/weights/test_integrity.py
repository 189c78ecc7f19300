"""Real slabs, with bytes flipped in memory or on disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.weights.arena import Arena
from engine.weights.errors import BadCheckpoint, ReadStopped
from engine.weights.integrity import disown, find_damage
from engine.weights.layout import TensorFacts, place
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared, SlabContents, open_prepared, write_prepared
from tests.weights.checkpoints import write_checkpoint

VALUES = np.arange(5_000_000, dtype=np.float32)
FACTS = TensorFacts("a", "parameter", "F32", VALUES.shape, (1,), VALUES.nbytes)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    contents = SlabContents("BertModel", "path:/x", place([FACTS]), ())
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    return write_prepared(tmp_path / "m", checkpoint, contents, lambda _: memoryview(VALUES.tobytes()), lambda _: None)


@pytest.fixture
def arena() -> Iterator[Arena]:
    arena = Arena(64 << 20)
    yield arena
    arena.close()


def read(arena: Arena, prepared: Prepared) -> Region:
    region = arena.allocate(prepared.length)
    assert region is not None
    arena.read_file(prepared.slab_path, prepared.data_offset, region, lambda _: None, threading.Event())
    return region


def flip_on_disk(prepared: Prepared) -> None:
    with prepared.slab_path.open("r+b") as file:
        file.seek(prepared.data_offset + 12_345_678)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def test_a_slab_that_was_read_as_it_was_written_is_whole(arena: Arena, prepared: Prepared) -> None:
    assert find_damage(arena, read(arena, prepared), prepared, threading.Event()) == "whole"


def test_one_bit_that_differs_on_disk_is_found_in_what_was_read(arena: Arena, prepared: Prepared) -> None:
    flip_on_disk(prepared)
    assert find_damage(arena, read(arena, prepared), prepared, threading.Event()) == "damaged"


def test_bytes_that_changed_in_memory_are_not_held_against_the_file(arena: Arena, prepared: Prepared) -> None:
    region = read(arena, prepared)
    with arena.view(region) as view:
        view[-1] ^= 1
    assert find_damage(arena, region, prepared, threading.Event()) == "altered"


def test_a_slab_whose_file_was_prepared_anew_is_replaced_and_the_new_file_is_not_called_damaged(
    arena: Arena, prepared: Prepared, tmp_path: Path
) -> None:
    region = read(arena, prepared)
    contents = SlabContents("BertModel", "path:/x", place([FACTS]), ())
    other = (VALUES + 1).tobytes()
    write_prepared(prepared.folder, tmp_path / "checkpoint", contents, lambda _: memoryview(other), lambda _: None)
    assert find_damage(arena, region, prepared, threading.Event()) == "replaced"
    with arena.view(region) as view:
        view[-1] ^= 1
    assert find_damage(arena, region, prepared, threading.Event()) == "replaced"


def test_a_check_that_is_stopped_finds_nothing(arena: Arena, prepared: Prepared) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(ReadStopped):
        find_damage(arena, read(arena, prepared), prepared, stop)


def test_a_disowned_folder_is_opened_no_more(prepared: Prepared) -> None:
    disown(prepared.folder)
    disown(prepared.folder)

    with pytest.raises(BadCheckpoint, match="not a whole prepared model"):
        open_prepared(prepared.folder)
    assert prepared.slab_path.exists()
