"""A checkpoint's headers tell its tensors without its weights being read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.weights.errors import BadCheckpoint
from engine.weights.header import checkpoint_files, read_header, weights_bytes
from tests.weights.checkpoints import write_checkpoint


def test_a_header_tells_of_each_tensor(tmp_path: Path) -> None:
    header = read_header(write_checkpoint(tmp_path) / "model.safetensors")
    assert {tensor.dtype for tensor in header.tensors.values()} == {"F32", "I64"}
    assert header.tensors["weight"].shape == (4, 8)


def test_a_target_dtype_changes_floating_weights_only(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    assert weights_bytes(folder, "float32") == 128 + 32
    assert weights_bytes(folder, "float16") == 64 + 32


def test_an_index_lists_several_files(tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        write_checkpoint(tmp_path, name)
    index = {"weight_map": {"weight": "b.safetensors", "ids": "a.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_bytes(msgspec.json.encode(index))
    assert [path.name for path in checkpoint_files(tmp_path)] == ["a.safetensors", "b.safetensors"]
    assert weights_bytes(tmp_path, "float32") == 2 * 160


def test_an_index_can_not_point_out_of_its_folder(tmp_path: Path) -> None:
    index = {"weight_map": {"weight": "../a.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_bytes(msgspec.json.encode(index))
    with pytest.raises(BadCheckpoint, match="lies outside of"):
        checkpoint_files(tmp_path)


def test_pickled_weights_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(BadCheckpoint, match=r"only as \.bin .*convert them to safetensors"):
        checkpoint_files(tmp_path)


@pytest.mark.parametrize("kept", [0, 4, 20, 150])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    path = write_checkpoint(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors"):
        read_header(path)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b'{"a": {}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}',
    ],
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors"):
        read_header(path)
