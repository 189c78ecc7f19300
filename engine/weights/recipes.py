"""The synthetic checkpoints that can be made anywhere: real configurations with random weights. No torch here; the
making is `engine.worker.synthetic`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from engine.core.tasks import TaskKind

RecipeKind: TypeAlias = Literal["bge-base", "e5-small", "phi-3-mini"]
Pooling: TypeAlias = Literal["cls", "mean"]


class Recipe(Struct, frozen=True):
    """What a synthetic checkpoint is made of; equal recipes make equal files."""

    kind: RecipeKind
    task: TaskKind
    config: dict[str, Any]
    """The values of its config.json."""
    parameters: int
    """Elements of all weights."""
    pooling: Pooling = "mean"
    stored_dtype: Literal["float32", "float16"] = "float32"
    seed: int = 20240607
    deviation: float = 0.02
    """Standard deviation of the weights, as these models start their training with."""

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of its linear layers, the output head excepted."""
        return _phi3_matrices(self.config) if self.config["model_type"] == "phi3" else _bert_matrices(self.config)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:12]


def checkpoint_folder(recipe: Recipe, cache: Path) -> Path:
    """Where the recipe's checkpoint is, or will be."""
    return cache / "synthetic" / f"{recipe.kind}-{recipe.fingerprint}"


def _bert_config(hidden: int, intermediate: int) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }


def _bert_parameters(config: dict[str, Any]) -> int:
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    rows = config["vocab_size"] + config["max_position_embeddings"] + config["type_vocab_size"]
    norm = 2 * hidden
    attention = 4 * (hidden * hidden + hidden) + norm
    feed_forward = hidden * intermediate + intermediate + intermediate * hidden + hidden + norm
    pooler = hidden * hidden + hidden
    return int(rows * hidden + norm + config["num_hidden_layers"] * (attention + feed_forward) + pooler)


def _bert_matrices(config: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    hidden, intermediate, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    attention = ((hidden, hidden),) * 4
    feed_forward = ((intermediate, hidden), (hidden, intermediate))
    pooler = (hidden, hidden)
    return (*((attention + feed_forward) * layers), pooler)


def _phi3_config() -> dict[str, Any]:
    """Phi-3-mini-4k's values, with its sizes scaled down so that float16 weights are about 400 MiB."""
    return {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "vocab_size": 32064,
        "hidden_size": 1024,
        "intermediate_size": 2560,
        "num_hidden_layers": 12,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "use_cache": True,
    }


def _phi3_parameters(config: dict[str, Any]) -> int:
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    attention = 4 * hidden * hidden
    feed_forward = 3 * hidden * intermediate
    layers = config["num_hidden_layers"] * (attention + feed_forward + 2 * hidden)
    return int(2 * config["vocab_size"] * hidden + layers + hidden)


def _phi3_matrices(config: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    """Query, key and value are one, and so are gate and up."""
    hidden, intermediate, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    attention = ((3 * hidden, hidden), (hidden, hidden))
    feed_forward = ((2 * intermediate, hidden), (hidden, intermediate))
    return (*((attention + feed_forward) * layers),)


def _bert(kind: RecipeKind, hidden: int, intermediate: int, pooling: Pooling) -> Recipe:
    config = _bert_config(hidden, intermediate)
    return Recipe(kind, "embedding", config, _bert_parameters(config), pooling)


def _phi3(kind: RecipeKind) -> Recipe:
    config = _phi3_config()
    return Recipe(kind, "generation", config, _phi3_parameters(config), stored_dtype="float16")


RECIPES: Final[dict[str, Recipe]] = {
    recipe.kind: recipe
    for recipe in (
        _bert("bge-base", 768, 3072, "cls"),
        _bert("e5-small", 384, 1536, "mean"),
        _phi3("phi-3-mini"),
    )
}
