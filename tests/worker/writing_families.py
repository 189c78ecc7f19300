"""Decoders of many families, in memory, with random weights that write many different tokens, and their lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from string import ascii_lowercase
from typing import Any, Final

import torch
from tokenizers import Tokenizer, decoders, models
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils.logging import set_verbosity_error

from engine.core.models import Limits
from engine.worker.generation import Generator
from engine.worker.lanes import Turn
from engine.worker.running import HOST_RUNS, RunMemory
from engine.worker.shared_rows import Forward
from engine.worker.writing_lane import PIECE_TOKENS, Room, WritingLane
from tests.worker.decoders import Run

_SIZES: Final = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
_GROUPED: Final = _SIZES | {"num_key_value_heads": 2, "max_position_embeddings": 128}
_HEADS: Final = _GROUPED | {"head_dim": 8}
_WINDOW: Final = {"sliding_window": 16}
SHARING: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "llama": ("llama", _GROUPED),
    "llama-yarn": (
        "llama",
        _GROUPED
        | {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 100.0,
                "factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
    ),
    "phi3": ("phi3", _GROUPED),
    "phi3-window": ("phi3", _GROUPED | _WINDOW),
    "qwen2": ("qwen2", _GROUPED),
    "qwen2-mixed": ("qwen2", _GROUPED | _WINDOW | {"use_sliding_window": True, "max_window_layers": 2}),
    "qwen3": ("qwen3", _HEADS),
    "mistral-window": ("mistral", _GROUPED | _WINDOW),
    "gemma": ("gemma", _HEADS),
    "gemma2": ("gemma2", _HEADS | _WINDOW),
    "gemma3_text": ("gemma3_text", _HEADS | _WINDOW | {"layer_types": ["sliding_attention", "full_attention"] * 2}),
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 128}),
    "gpt_neox": ("gpt_neox", _SIZES | {"max_position_embeddings": 128}),
    "olmo2": ("olmo2", _GROUPED),
    "smollm3": ("smollm3", _GROUPED),
    "opt": (
        "opt",
        {
            "hidden_size": 32,
            "word_embed_proj_dim": 32,
            "ffn_dim": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
        },
    ),
    "bloom": ("bloom", {"hidden_size": 32, "n_layer": 4, "n_head": 4}),
    "falcon-alibi": ("falcon", _SIZES | {"alibi": True, "new_decoder_architecture": False, "multi_query": False}),
    "starcoder2": ("starcoder2", _GROUPED),
    "gpt_oss": ("gpt_oss", _HEADS | _WINDOW | {"num_local_experts": 4, "num_experts_per_tok": 2}),
}
"""Families whose texts share their steps: rotary positions in several kinds, learned ones, alibi; windows in all, some or no
layers; experts."""
ALONE: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "mamba": ("mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
    "lfm2": ("lfm2", _GROUPED | {"layer_types": ["conv", "full_attention"] * 2, "conv_L_cache": 3}),
    "qwen3_next": (
        "qwen3_next",
        _HEADS
        | {
            "layer_types": ["linear_attention", "full_attention"] * 2,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16,
        },
    ),
    "mpt": ("mpt", {"d_model": 32, "n_layers": 4, "n_heads": 4, "max_seq_len": 128, "expansion_ratio": 2}),
}
"""Families that keep a state, of which nobody knows what padding does to it, and one that keeps nothing at all."""
ENCODER: Final = {"bert": ("bert", _SIZES | {"max_position_embeddings": 128})}


def letters_tokenizer() -> PreTrainedTokenizerFast:
    """A token a letter, of which there are many: a text tells all its tokens."""
    letters = ["<s>", "</s>", " ", *ascii_lowercase, *map(chr, range(0x4E00, 0x4E00 + 240))]
    backend = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")  # type: ignore[no-untyped-call]


TOKENIZER: Final = letters_tokenizer()


def decoder(family: str, sizes: dict[str, Any] | None = None, **settings: object) -> PreTrainedModel:
    """A module of the family, with its settings for writing. Its weights are untied and large: others would write one token
    for ever."""
    set_verbosity_error()  # type: ignore[no-untyped-call]
    kind, usual = (SHARING | ALONE | ENCODER)[family]
    scale = 0.6 if family == "bloom" else 0.3
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "tie_word_embeddings": False}
    config = AutoConfig.for_model(kind, **({"vocab_size": len(TOKENIZER)} | special | usual | (sizes or {})))
    torch.manual_seed(3)
    module: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.dim() > 1 and not name.endswith(("A_log", "conv1d.weight")):
                weight.normal_(0, scale)
    module.train(False)
    assert module.generation_config is not None
    module.generation_config.update(**{"eos_token_id": None, **settings})  # type: ignore[no-untyped-call]
    return module


def by_transformers(module: PreTrainedModel, prompt: list[int], tokens: int, **settings: object) -> list[int]:
    """What `generate` writes when nobody else does."""
    row = torch.tensor([prompt])
    generate: Callable[..., torch.Tensor] = getattr(module, "generate")  # noqa: B009 - typed as of another class
    answer = generate(
        input_ids=row, attention_mask=torch.ones_like(row), max_new_tokens=tokens, **{"do_sample": False, **settings}
    )
    written: list[int] = answer[0, len(prompt) :].tolist()
    return written


LIMITS: Final = Limits(4, 96)


def tokens_of(text: str) -> list[int]:
    tokens: list[int] = TOKENIZER(text)["input_ids"]
    return tokens


def text_of(tokens: list[int]) -> str:
    return str(TOKENIZER.decode(tokens, skip_special_tokens=True))


def alone(module: PreTrainedModel, prompt: str, tokens: int, seed: int | None = None, **settings: object) -> str:
    """What `generate` writes when nobody else does."""
    if seed is not None:
        torch.manual_seed(seed)
        settings |= {"do_sample": True}
    return text_of(by_transformers(module, tokens_of(prompt), tokens, **settings))


def lane_of(
    module: PreTrainedModel,
    limits: Limits = LIMITS,
    *,
    piece_tokens: int = PIECE_TOKENS,
    memory: RunMemory = HOST_RUNS,
    turn: Turn | None = None,
) -> WritingLane:
    writer = Generator(module, TOKENIZER, limits, memory)
    room = Room(limits.max_batch, limits.max_batch * limits.max_sequence)
    return WritingLane("m", writer, Forward(module), room, memory, turn or Turn(), piece_tokens)


def ask_all(lane: WritingLane, runs: Iterable[Run]) -> None:
    for run in runs:
        lane.take(run.asked)


class Steps:
    """Of a module: what is to happen before its next forwards, on the thread that runs them."""

    def __init__(self, module: PreTrainedModel) -> None:
        self.rows: list[int] = []
        """Of each forward, how many it ran."""
        self.tokens: list[int] = []
        """Of each row of them, how many."""
        self.before: Callable[[int], object] = lambda _: None
        """Called with the number of the forward, from 0 on."""
        self.unhook: Final = module.register_forward_pre_hook(self._look, with_kwargs=True).remove

    def _look(self, _: torch.nn.Module, __: tuple[object, ...], given: dict[str, Any]) -> None:
        rows, tokens = given["input_ids"].shape
        self.rows.append(rows)
        self.tokens.append(tokens)
        self.before(len(self.rows) - 1)

    def at_first(self, happen: Callable[[], object]) -> None:
        """Have that happen before the first forward only."""
        self.before = lambda forward: happen() if forward == 0 else None
