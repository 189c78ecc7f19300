"""Names that share a tensor in the checkpoint share it on the device, and no others, whatever the configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel

from engine.core.models import Dtype
from engine.core.tasks import TaskKind
from engine.weights.slab import Prepared
from engine.worker.convert import prepare
from engine.worker.memory import RamBacking
from engine.worker.protocol import Prepare
from engine.worker.residents import bind, unbind
from engine.worker.skeleton import Skeleton
from tests.worker.models import SMALL, VOCABULARY, Tier, filled, run, write_tokenizer
from tests.worker.test_skeleton import ties_of

T5: Final = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
BART: Final = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}
TIED: Final[dict[str, tuple[TaskKind, dict[str, Any], tuple[str, ...]]]] = {
    "llama": ("generation", SMALL, ("model.embed_tokens.weight", "lm_head.weight")),
    "qwen2": ("generation", SMALL | {"num_key_value_heads": 2}, ("model.embed_tokens.weight", "lm_head.weight")),
    "gemma3_text": ("generation", SMALL | {"head_dim": 8}, ("model.embed_tokens.weight", "lm_head.weight")),
    "gpt2": ("generation", {"n_embd": 32, "n_layer": 2, "n_head": 4}, ("transformer.wte.weight", "lm_head.weight")),
    "bert": (
        "generation",
        SMALL,
        ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
    ),
    "t5": ("embedding", T5, ("shared.weight", "encoder.embed_tokens.weight")),
    "bart": (
        "embedding",
        BART,
        ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"),
    ),
}
"""Families whose configuration ties these names."""
CASES: Final = [
    (family, own, without)
    for family, (_, _, names) in TIED.items()
    for own, without in [
        *(((name,), ()) for name in names),  # one of them has values of its own
        (names, ()),  # each has
        *(((), (name,)) for name in names),  # one of them is not stored
        ((), ()),
    ]
]


def write_tied(family: str, own: tuple[str, ...], without: tuple[str, ...], folder: Path) -> TaskKind:
    """A checkpoint whose configuration ties what it ties by itself. The tensors of `own` have values of their own, those of
    `without` are not stored."""
    task, sizes, names = TIED[family]
    config = AutoConfig.for_model(family, vocab_size=VOCABULARY, tie_word_embeddings=True, pad_token_id=0, **sizes)
    torch.manual_seed(3)
    loader = AutoModelForCausalLM if task == "generation" else AutoModel
    module: PreTrainedModel = loader.from_config(config)  # type: ignore[no-untyped-call]
    module.save_pretrained(folder)
    stored = load_file(folder / "model.safetensors")
    shared = module.get_parameter(names[0]).detach()
    stored |= {name: torch.randn_like(shared) if name in own else shared.clone() for name in names}
    kept = {name: tensor for name, tensor in stored.items() if name not in without}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(folder)
    return task


def prepared_of(checkpoint: Path, task: TaskKind, dtype: Dtype) -> Prepared:
    folder = checkpoint.parent / "prepared"
    request = Prepare(1, "m", f"path:{checkpoint}", str(checkpoint), str(folder), task, dtype, None)
    return prepare(request, lambda _: None)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("family", "own", "without"), CASES)
def test_a_bound_model_has_the_ties_of_the_checkpoint_as_transformers_reads_it(
    family: str, own: tuple[str, ...], without: tuple[str, ...], dtype: Dtype, tier: Tier, tmp_path: Path
) -> None:
    task = write_tied(family, own, without, tmp_path / "checkpoint")
    prepared = prepared_of(tmp_path / "checkpoint", task, dtype)
    model_class = getattr(transformers, prepared.layout.model_class)
    reference = model_class.from_pretrained(tmp_path / "checkpoint", dtype=dtype).eval()
    skeleton = Skeleton(prepared.folder)
    source = tier.read(prepared)
    for _ in range(2):
        placement = filled(RamBacking(tier.mapping, 4 << 20), source)
        bind(skeleton, placement)
        assert ties_of(skeleton.module) == ties_of(reference)
        assert torch.equal(run(skeleton.module), run(reference))
        unbind(skeleton)
        placement.vacate()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_head_of_its_own_is_kept_in_int8_too(family: str, tier: Tier, tmp_path: Path) -> None:
    names = TIED[family][2]
    task = write_tied(family, names[1:], (), tmp_path / "checkpoint")
    prepared = prepared_of(tmp_path / "checkpoint", task, "int8")
    reference: PreTrainedModel = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")
    skeleton = Skeleton(prepared.folder)
    bind(skeleton, filled(RamBacking(tier.mapping, 4 << 20), tier.read(prepared)))
    got, want = run(skeleton.module).float().flatten(), run(reference.train(False)).flatten()
    assert torch.nn.functional.cosine_similarity(got, want, dim=0) > 0.999
