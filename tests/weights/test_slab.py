"""A prepared folder is whole or not there, opens only if it is whole, and has the bytes that were written."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from safetensors import safe_open

from engine.core.serialization import to_json
from engine.weights.errors import BadCheckpoint, DiskFull, NotWritable
from engine.weights.integrity import verify_checksum
from engine.weights.layout import (
    DATA_ALIGNMENT,
    LAYOUT_FILE,
    TENSOR_ALIGNMENT,
    SlabEntry,
    TensorFacts,
    data_length,
    header_bytes,
    place,
)
from engine.weights.slab import Prepared, SlabContents, is_current, open_prepared, write_prepared
from tests.weights.checkpoints import write_checkpoint

VALUES = {"a": np.arange(6, dtype=np.float32), "b": np.arange(300, dtype=np.float32)}


def facts(path: str, values: np.ndarray) -> TensorFacts:
    return TensorFacts(path, "parameter", "F32", values.shape, (1,), values.nbytes)


CONTENTS = SlabContents("BertModel", "path:/x", place(facts(*item) for item in VALUES.items()), ())


def value_bytes(entry: SlabEntry) -> memoryview:
    return memoryview(VALUES[entry.path].tobytes())


def write(folder: Path, checkpoint: Path) -> Prepared:
    return write_prepared(folder, checkpoint, CONTENTS, value_bytes, lambda _: None)


def test_a_slab_opens_with_the_official_library(tmp_path: Path) -> None:
    prepared = write(tmp_path / "prepared" / "m", write_checkpoint(tmp_path / "checkpoint"))
    with safe_open(prepared.slab_path, framework="numpy") as slab:
        assert {name for name in slab.keys() if not name.startswith("__pad_")} == set(VALUES)  # noqa: SIM118
        for name, values in VALUES.items():
            assert np.array_equal(slab.get_tensor(name), values)


def test_what_a_model_needs_beside_its_weights_is_copied_and_code_is_not(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    for name in ("tokenizer.json", "modeling_evil.py", "1_Pooling/config.json"):
        (checkpoint / name).parent.mkdir(exist_ok=True)
        (checkpoint / name).write_text("{}")
    folder = write(tmp_path / "m", checkpoint).folder
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {"slab.safetensors", "layout.json", "config.json", "tokenizer.json", "1_Pooling/config.json"}


def test_a_layout_names_the_files_that_it_was_made_of_as_sha256sum_would(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    (checkpoint / "1_Pooling").mkdir()
    (checkpoint / "1_Pooling" / "config.json").write_text("{}")
    (checkpoint / "README.md").write_text("not needed")
    known = write(tmp_path / "m", checkpoint).layout.source_sha256
    assert set(known) == {"model.safetensors", "config.json", "tokenizer.json", "1_Pooling/config.json"}
    for name, sha256 in known.items():
        assert hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() == sha256


def test_what_was_opened_is_current_until_it_is_prepared_anew_or_gone(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    first = write(tmp_path / "m", checkpoint)
    assert is_current(first)
    again = write(tmp_path / "m", checkpoint)
    assert not is_current(first)
    assert is_current(again)
    assert first.layout_id == again.layout_id
    shutil.rmtree(again.folder)
    assert not is_current(again)


def test_a_slab_that_was_cut_short_is_recognised_and_written_again(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    prepared = write(tmp_path / "m", checkpoint)
    os.truncate(prepared.slab_path, prepared.data_offset + 10)
    with pytest.raises(BadCheckpoint, match="not what its layout says; prepare it again"):
        open_prepared(prepared.folder)
    verify_checksum(write(tmp_path / "m", checkpoint), lambda _: None)


@pytest.mark.parametrize("name", ["layout.json", "slab.safetensors"])
def test_a_folder_with_a_file_missing_is_not_whole(tmp_path: Path, name: str) -> None:
    prepared = write(tmp_path / "m", write_checkpoint(tmp_path / "checkpoint"))
    (prepared.folder / name).unlink()
    with pytest.raises(BadCheckpoint, match="not a whole prepared model"):
        open_prepared(prepared.folder)


def test_a_changed_byte_is_found_by_the_checksum(tmp_path: Path) -> None:
    prepared = write(tmp_path / "m", write_checkpoint(tmp_path / "checkpoint"))
    shares: list[float] = []
    verify_checksum(prepared, shares.append)
    assert shares[-1] == 1.0
    with prepared.slab_path.open("r+b") as file:
        file.seek(prepared.data_offset + 3)
        file.write(b"\xff")
    with pytest.raises(
        BadCheckpoint, match=r"does not have the bytes that were written; `citadel prepare MODEL --check`"
    ):
        verify_checksum(prepared, lambda _: None)


def test_writing_again_replaces_what_is_there(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    prepared = write(tmp_path / "prepared" / "m", checkpoint)
    prepared.slab_path.write_bytes(b"damaged")
    with prepared.slab_path.open("rb") as reader:
        verify_checksum(write(tmp_path / "prepared" / "m", checkpoint), lambda _: None)
        assert reader.read() == b"damaged"  # who was reading goes on with the file that it opened
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == ["m"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    def broken(entry: SlabEntry) -> memoryview:
        raise OSError(errno.EIO, "Input/output error")

    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    before = write(tmp_path / "prepared" / "m", checkpoint)
    with pytest.raises(OSError, match="Input/output error"):
        write_prepared(tmp_path / "prepared" / "m", checkpoint, CONTENTS, broken, lambda _: None)
    verify_checksum(before, lambda _: None)
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == ["m"]


def test_a_full_disk_is_reported_with_the_bytes_needed_and_leaves_nothing(tmp_path: Path) -> None:
    def no_room(entry: SlabEntry) -> memoryview:
        raise OSError(errno.ENOSPC, "No space left on device")

    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(DiskFull, match="needs 1 MiB on the disk"):
        write_prepared(tmp_path / "prepared" / "m", checkpoint, CONTENTS, no_room, lambda _: None)
    assert list((tmp_path / "prepared").iterdir()) == []


def test_a_disk_without_room_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int = 100

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage())
    with pytest.raises(DiskFull, match="nothing was kept"):
        write(tmp_path / "prepared" / "m", write_checkpoint(tmp_path / "checkpoint"))


@given(st.lists(st.integers(0, 2000), max_size=12))
def test_every_tensor_is_aligned_and_the_data_begins_on_a_page(counts: list[int]) -> None:
    entries = place(
        TensorFacts(f"t{number}", "parameter", "F32", (count,), (1,), count * 4) for number, count in enumerate(counts)
    )
    assert all(entry.offset % TENSOR_ALIGNMENT == 0 for entry in entries)
    assert all(a.offset + a.length <= b.offset for a, b in itertools.pairwise(entries))
    assert len(header_bytes(entries)) % DATA_ALIGNMENT == 0
    assert data_length(entries) >= sum(counts) * 4


def test_a_cache_that_cannot_be_written_is_named_with_the_reason_and_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "prepared").write_text("a file where the folder belongs")

    with pytest.raises(
        NotWritable, match=r"m can't be prepared: .*prepared can't be written \(File exists\).*XDG_CACHE_HOME"
    ):
        write(tmp_path / "prepared" / "m", write_checkpoint(tmp_path / "checkpoint"))


def test_a_layout_of_before_there_were_checksums_opens_and_one_that_moves_a_tensor_does_not(tmp_path: Path) -> None:
    prepared = write(tmp_path / "m", write_checkpoint(tmp_path / "checkpoint"))
    path = prepared.folder / LAYOUT_FILE
    path.write_bytes(to_json(prepared.layout))
    assert open_prepared(prepared.folder).layout == prepared.layout

    moved = replace(prepared.layout.entries[1], offset=512)
    path.write_bytes(to_json(replace(prepared.layout, entries=(prepared.layout.entries[0], moved))))
    with pytest.raises(BadCheckpoint, match="not what its layout says; prepare it again"):
        open_prepared(prepared.folder)
