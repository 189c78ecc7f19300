"""A bound skeleton answers as the model that `from_pretrained` gives, again and again, and not at all once it has left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from msgspec.structs import replace
from safetensors.torch import load_file
from transformers import PreTrainedModel

from engine.core.models import Dtype
from engine.core.serialization import to_sealed_json
from engine.weights.errors import BadCheckpoint
from engine.weights.layout import LAYOUT_FILE
from engine.worker.convert import prepare
from engine.worker.main import backing_for
from engine.worker.memory import Backing, HostBacking, RamBacking
from engine.worker.protocol import Prepare
from engine.worker.residents import bind, unbind
from engine.worker.skeleton import Skeleton
from tests.worker.models import EMBEDDING, GENERATION, Tier, filled, prepare_random, run, write_random_checkpoint

FAMILIES = [*EMBEDDING, *GENERATION]
DEVICE_BYTES = 4 << 20


@pytest.fixture(params=["ram", "host"])
def backing(request: pytest.FixtureRequest, tier: Tier) -> Backing:
    return backing_for(request.param, tier.mapping, DEVICE_BYTES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_bound_model_equals_from_pretrained_bit_for_bit(
    family: str, dtype: torch.dtype, tier: Tier, tmp_path: Path
) -> None:
    reference, prepared = prepare_random(family, tmp_path, dtype)
    skeleton = Skeleton(prepared.folder)
    placement = filled(RamBacking(tier.mapping, DEVICE_BYTES), tier.read(prepared))
    bind(skeleton, placement)
    assert torch.equal(run(skeleton.module), run(reference))
    bound = dict(skeleton.module.named_buffers())
    for path, buffer in reference.named_buffers():
        assert bound[path].dtype == buffer.dtype
        assert torch.equal(bound[path], buffer)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_float32_checkpoint_prepared_as_another_dtype_equals_from_pretrained_with_that_dtype(
    family: str, dtype: Dtype, tier: Tier, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint"
    task = write_random_checkpoint(family, checkpoint)
    request = Prepare(1, "m", f"path:{checkpoint}", str(checkpoint), str(tmp_path / "m"), task, dtype, None)
    prepared = prepare(request, lambda _: None)
    reference = getattr(transformers, prepared.layout.model_class).from_pretrained(checkpoint, dtype=dtype).eval()
    skeleton = Skeleton(prepared.folder)
    bind(skeleton, filled(RamBacking(tier.mapping, DEVICE_BYTES), tier.read(prepared)))
    assert getattr(torch, dtype) in {parameter.dtype for parameter in reference.parameters()}
    assert torch.equal(run(skeleton.module), run(reference))
    assert state_of(skeleton.module) == state_of(reference)
    assert ties_of(skeleton.module) == ties_of(reference)


def state_of(module: PreTrainedModel) -> dict[str, tuple[torch.dtype, bytes]]:
    """Every parameter and buffer, also those that a checkpoint does not store: its dtype and its bytes."""
    tensors = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    return {
        path: (t.dtype, t.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()) for path, t in tensors
    }


def ties_of(module: PreTrainedModel) -> set[frozenset[str]]:
    """The groups of names that are one parameter."""
    names: dict[int, set[str]] = {}
    for path, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(path)
    return {frozenset(group) for group in names.values() if len(group) > 1}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_comes_back_to_a_region_others_used_is_the_same(
    family: str, backing: Backing, tier: Tier, tmp_path: Path
) -> None:
    reference, prepared = prepare_random(family, tmp_path)
    _, other_prepared = prepare_random("bert" if family != "bert" else "llama", tmp_path)
    skeleton, other = Skeleton(prepared.folder), Skeleton(other_prepared.folder)
    source, other_source = tier.read(prepared), tier.read(other_prepared)
    for _ in range(2):
        for each, region in ((skeleton, source), (other, other_source)):
            placement = filled(backing, region)
            bind(each, placement)
            output = run(each.module)
            assert each is other or torch.equal(output, run(reference))
            unbind(each)
            assert placement.vacate() == 0
    assert backing.used_bytes == 0


def test_a_long_input_does_not_change_a_rotary_model_that_is_loaded_again(
    backing: Backing, tier: Tier, tmp_path: Path
) -> None:
    reference, prepared = prepare_random("phi3-longrope", tmp_path)
    short, long = run(reference, tokens=8), run(reference, tokens=40)
    skeleton = Skeleton(prepared.folder)
    source = tier.read(prepared)
    for _ in range(2):
        placement = filled(backing, source)
        bind(skeleton, placement)
        assert torch.equal(run(skeleton.module, tokens=8), short)
        assert torch.equal(run(skeleton.module, tokens=40), long)
        unbind(skeleton)
        placement.vacate()


def test_a_host_models_run_never_writes_to_the_slab_that_others_read(tier: Tier, tmp_path: Path) -> None:
    _, prepared = prepare_random("phi3-longrope", tmp_path)
    skeleton = Skeleton(prepared.folder)
    source = tier.read(prepared)
    before = tier.mapping[source.offset : source.offset + source.length]
    bind(skeleton, filled(HostBacking(tier.mapping, DEVICE_BYTES), source))
    run(skeleton.module, tokens=40)
    assert tier.mapping[source.offset : source.offset + source.length] == before


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_that_comes_after_the_release_raises(family: str, backing: Backing, tier: Tier, tmp_path: Path) -> None:
    _, prepared = prepare_random(family, tmp_path)
    skeleton = Skeleton(prepared.folder)
    placement = filled(backing, tier.read(prepared))
    bind(skeleton, placement)
    unbind(skeleton)
    placement.vacate()
    with pytest.raises((RuntimeError, IndexError, AssertionError)):
        run(skeleton.module)


def test_tied_weights_are_stored_once_and_stay_tied(tier: Tier, tmp_path: Path) -> None:
    _, prepared = prepare_random("qwen2", tmp_path)
    assert [alias.path for alias in prepared.layout.aliases] == ["lm_head.weight"]
    skeleton = Skeleton(prepared.folder)
    bind(skeleton, filled(RamBacking(tier.mapping, DEVICE_BYTES), tier.read(prepared)))
    module = skeleton.module
    assert module.get_parameter("lm_head.weight") is module.get_parameter("model.embed_tokens.weight")


def test_a_prepared_slab_has_all_weights_for_the_official_library(tmp_path: Path) -> None:
    reference, prepared = prepare_random("bert", tmp_path)
    stored = load_file(prepared.slab_path)
    for path, parameter in reference.named_parameters():
        assert torch.equal(stored[path], parameter)


def test_a_slab_of_another_class_is_refused(tmp_path: Path) -> None:
    _, prepared = prepare_random("bert", tmp_path)
    layout = prepared.folder / "layout.json"
    layout.write_text(layout.read_text().replace('"BertModel"', '"RobertaForMaskedLM"'))
    with pytest.raises(BadCheckpoint, match="prepare it again"):
        Skeleton(prepared.folder)


def test_tensors_of_another_shape_than_their_class_has_are_refused_by_name(tmp_path: Path) -> None:
    _, prepared = prepare_random("bert", tmp_path)
    config = prepared.folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"intermediate_size": 8}))
    with pytest.raises(BadCheckpoint, match=r"intermediate\.dense\.weight has another shape in the prepared model"):
        Skeleton(prepared.folder)


def test_a_class_that_transformers_lacks_is_refused_by_name(tmp_path: Path) -> None:
    _, prepared = prepare_random("bert", tmp_path)
    (prepared.folder / LAYOUT_FILE).write_bytes(to_sealed_json(replace(prepared.layout, model_class="NoSuchModel")))
    with pytest.raises(BadCheckpoint, match="needs the class NoSuchModel"):
        Skeleton(prepared.folder)
