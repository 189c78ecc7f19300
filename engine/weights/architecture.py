"""The sizes of a transformer that its memory depends on, as its config.json says them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from engine.core.forecast.footprints import Architecture
from engine.weights.checkpoint_json import CONFIG_FILE, read_json_object
from engine.weights.errors import BadCheckpoint
from engine.weights.known_types import default_sizes

_HIDDEN: Final = ("hidden_size", "n_embd", "d_model", "dim", "model_dim")
_INTERMEDIATE: Final = (
    "intermediate_size",
    "n_inner",
    "d_ff",
    "ffn_dim",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "ffn_hidden_size",
    "hidden_dim",
)
_LAYERS: Final = (
    "num_decoder_layers",
    "decoder_layers",
    "num_hidden_layers",
    "n_layer",
    "num_layers",
    "n_layers",
    "encoder_layers",
)
_HEADS: Final = (
    "num_attention_heads",
    "n_head",
    "num_heads",
    "n_heads",
    "decoder_attention_heads",
    "encoder_attention_heads",
)
_NESTED: Final = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
    "text_encoder",
    "decoder",
    "encoder",
)
"""Where configurations of models made of several keep that of the part that reads and writes text."""
_USUAL_WIDENING: Final = 4
"""Families that leave the intermediate size out mean four times the hidden size."""


def read_architecture(folder: Path) -> Architecture:
    """The architecture of the checkpoint in `folder`. Raises BadCheckpoint."""
    path = folder / CONFIG_FILE
    try:
        return architecture_of(read_json_object(path))
    except KeyError as error:
        raise BadCheckpoint(f"{path} does not say its {error.args[0]}; is it a transformer's?") from error


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """The architecture that a config.json's values describe, those of its text part where it has several. Raises KeyError,
    naming what is missing."""
    sizes = _text_sizes(config)
    hidden, layers, heads = _first(sizes, _HIDDEN), _first(sizes, _LAYERS), _find(sizes, _HEADS)
    return Architecture(
        hidden=hidden,
        intermediate=_find(sizes, _INTERMEDIATE) or hidden * _USUAL_WIDENING,
        # what is written attends to what was read, too
        layers=2 * layers if config.get("is_encoder_decoder") is True else layers,
        # a family without attention keeps a state in the place of keys and values
        kv_heads=_find(sizes, ("num_key_value_heads", "num_kv_heads")) or heads or 1,
        head_dim=_find(sizes, ("head_dim", "d_kv", "v_head_dim")) or hidden // (heads or 1),
        vocab=_first(sizes, ("vocab_size",)),
    )


def _text_sizes(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of the part that reads and writes text, what its file leaves out included."""
    parts = list(_parts(config))
    part = next((part for part in parts if _find(part, _HIDDEN)), parts[-1])
    around = {name: value for name, value in config.items() if name == "vocab_size"}
    defaults = default_sizes(str(part.get("model_type")))
    given = {name: value for name, value in part.items() if value is not None}
    return {**defaults, **around, **given}


def _parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The configuration, then those nested in it, the outer ones first."""
    yield config
    for name in _NESTED:
        if isinstance(part := config.get(name), dict):
            yield from _parts(part)


def _find(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    values = (_most(config.get(name)) for name in names)
    return next((value for value in values if value), None)


def _most(value: object) -> int:
    """The value; of a list with one for each layer the largest."""
    if isinstance(value, list):
        return max(map(_most, value), default=0)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> int:
    value = _find(config, names)
    if value is None:
        raise KeyError(names[0])
    return value
