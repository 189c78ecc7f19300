"""What a run leaves in a module does not change the answers of later runs, whether the model was switched meanwhile or not."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from engine.worker.convert import load_module, write_module
from engine.worker.main import backing_for
from engine.worker.memory import Backing
from engine.worker.residents import bind, unbind
from engine.worker.skeleton import Skeleton
from tests.worker.models import LONG_ROPE, SMALL, VOCABULARY, Tier, filled, run

LONGEST: Final = 32
SIZES: Final = SMALL | {"max_position_embeddings": LONGEST, "pad_token_id": 0, "num_key_value_heads": 2}


def rope(kind: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - values of a configuration
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 100.0, "factor": 4.0} | more}


LLAMA3: Final = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
PER_LAYER: Final = {
    "rope_parameters": {
        "full_attention": {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    },
    "head_dim": 8,
    "sliding_window": 4,
}
MODELS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "dynamic": ("llama", rope("dynamic")),
    "dynamic-qwen2": ("qwen2", rope("dynamic")),
    "dynamic-gpt-neox": ("gpt_neox", rope("dynamic", partial_rotary_factor=1.0)),
    "dynamic-per-layer": ("gemma3_text", PER_LAYER),
    "yarn": ("llama", rope("yarn", original_max_position_embeddings=16)),
    "linear": ("llama", rope("linear")),
    "llama3": ("llama", rope("llama3", **LLAMA3)),
    "longrope": ("phi3", {"rope_parameters": LONG_ROPE, "original_max_position_embeddings": 16}),
    "sliding": ("mistral", {"sliding_window": 4}),
    "learned-positions": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "max_position_embeddings": 64}),
}
Step: TypeAlias = int | Literal["switch"]
"""So many tokens, or another load."""
TEXTS: Final = (8, LONGEST, 50, 40)
ORDERS: Final[list[tuple[Step, ...]]] = [
    *((first, second, "switch", first) for first, second in product(TEXTS, repeat=2)),
    (8, 50, 40, LONGEST, 8, 40, 50, 50, 8),
]


def write(model: str, folder: Path) -> None:
    family, values = MODELS[model]
    config = AutoConfig.for_model(family, vocab_size=VOCABULARY, **(SIZES | values))
    torch.manual_seed(5)
    module: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    for parameter in module.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    module.save_pretrained(folder)


@pytest.fixture(params=["ram", "host"])
def backing(request: pytest.FixtureRequest, tier: Tier) -> Backing:
    return backing_for(request.param, tier.mapping, 4 << 20)


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_depends_on_its_text_alone_in_every_order(
    model: str, backing: Backing, tier: Tier, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint"
    write(model, checkpoint)
    # each answer from a model that has seen nothing else
    wanted = {tokens: run(load_module(checkpoint, "generation", torch.float32), tokens) for tokens in TEXTS}
    reference = load_module(checkpoint, "generation", torch.float32)
    prepared = write_module(reference, tmp_path / "m", checkpoint, "path:x", lambda _: None)
    skeleton, source = Skeleton(prepared.folder), tier.read(prepared)
    placement = None
    for order in ORDERS:
        for step in ("switch", *order):
            if step != "switch":
                assert torch.equal(run(skeleton.module, step), wanted[step]), order
                continue
            if placement is not None:
                unbind(skeleton)
                assert placement.vacate() == 0
            placement = filled(backing, source)
            bind(skeleton, placement)
            assert_whole(skeleton)


def assert_whole(skeleton: Skeleton) -> None:
    """Every parameter and buffer of the module is one that was bound, and none is plain."""
    bound = {id(tensor) for tensor, _ in skeleton.places}
    named = [*skeleton.module.named_parameters(), *skeleton.module.named_buffers()]
    assert {id(tensor) for _, tensor in named} == bound
    assert not [
        name for part in skeleton.module.modules() for name, value in vars(part).items() if torch.is_tensor(value)
    ]


def test_all_that_a_run_may_leave_is_gone_when_the_model_comes_back(tier: Tier, tmp_path: Path) -> None:
    write("dynamic", tmp_path / "checkpoint")
    reference = load_module(tmp_path / "checkpoint", "generation", torch.float32)
    prepared = write_module(reference, tmp_path / "m", tmp_path / "checkpoint", "path:x", lambda _: None)
    skeleton, source = Skeleton(prepared.folder), tier.read(prepared)
    module: Any = skeleton.module
    built = {name: dict(vars(part)) for name, part in module.named_modules()}
    bind(skeleton, filled(backing_for("ram", tier.mapping, 4 << 20), source))
    wanted = run(module)
    rotary: Any = module.model.rotary_emb
    rotary.register_buffer("inv_freq", torch.ones(4))
    rotary.register_buffer("another", torch.ones(4))
    rotary.kept = [torch.ones(4)]
    rotary.attention_scaling = 3.0
    del rotary.original_max_seq_len
    rotary.config.rope_parameters["factor"] = 9.0
    module.model.norm.weight = torch.nn.Parameter(torch.zeros(32))
    module.model.layers[0].mlp = torch.nn.Identity()
    unbind(skeleton)
    bind(skeleton, filled(backing_for("ram", tier.mapping, 4 << 20), source))
    assert_whole(skeleton)
    assert {name: dict(vars(part)) for name, part in module.named_modules()} == built
    assert rotary.config.rope_parameters["factor"] == 4.0
    assert torch.equal(run(module), wanted)
