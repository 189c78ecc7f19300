"""How many tokens of a text a model takes: what its own files say, and what the catalog and the devices make of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine.core.devices import DeviceSpec
from engine.core.models import Limits, ModelSpec
from engine.core.sizes import format_size
from engine.core.tasks import TaskKind
from engine.weights.errors import BadCheckpoint
from engine.weights.estimates import estimate_footprint
from engine.weights.recipes import RECIPES
from engine.weights.sentence_files import MODEL_FILE, read_sentence_format
from engine.weights.sources import CONFIG_FILE, Source

TOKENIZER_SETTINGS: Final = "tokenizer_config.json"
_POSITIONS: Final = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "n_ctx")
_RELATIVE: Final = frozenset(
    {"t5", "mt5", "umt5", "longt5", "switch_transformers", "byt5", "pop2piano", "xlnet", "bloom"}
)
"""Families that write a number of positions and have none, since they count from token to token."""
_BEHIND_PADDING: Final = frozenset(
    {
        *("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "longformer", "mpnet"),
        *("data2vec-text", "ibert", "luke", "mluke", "xmod", "markuplm", "lilt", "layoutlmv3", "esm"),
    }
)
"""Families whose first position comes behind that of the padding."""
_PADDING: Final = 1
"""The padding's number in those families where their file leaves it out, and of MPNet whatever it says."""
_UNKNOWN_LENGTH: Final = 1 << 24
"""Tokenizers that know no limit write a number of thirty digits."""


class OwnLimit(Struct, frozen=True):
    """What a model's files say of the longest text."""

    positions: int | None = None
    """What there are position embeddings for, or what it was trained for; None where nothing says so."""
    tokens: int | None = None
    """The longest text, at most `positions`; None where nothing says so."""
    said_by: str = ""
    """The file and the key that `tokens` comes from."""


class SettledLimits(Struct, frozen=True):
    """A model's limits once its files were read."""

    limits: Limits
    remark: str = ""
    """What is not as the catalog or the model says, in words; empty where all is."""


def own_limit(folder: Path, task: TaskKind) -> OwnLimit:
    """What the files of the checkpoint say. Raises BadCheckpoint."""
    config = _read(folder / CONFIG_FILE)
    positions, key = positions_of(config)
    found = [(positions, f"{CONFIG_FILE}: {key}")] if positions else []
    sentence = read_sentence_format(folder).max_tokens if task == "embedding" else None
    if sentence:
        found.append((sentence, f"{MODEL_FILE}: max_seq_length"))
    else:
        length = _read(folder / TOKENIZER_SETTINGS).get("model_max_length")
        if isinstance(length, int | float) and 0 < length < _UNKNOWN_LENGTH:
            found.append((int(length), f"{TOKENIZER_SETTINGS}: model_max_length"))
    # of equal ones the last is what the model's makers said of texts
    tokens, said_by = min(reversed(found), default=(None, ""), key=lambda limit: limit[0])
    return OwnLimit(positions, tokens, said_by)


def settle_limits(spec: ModelSpec, source: Source, devices: Iterable[DeviceSpec] = ()) -> SettledLimits:
    """The limits that `spec` runs with. Raises BadCheckpoint when the catalog asks for more positions than the model has."""
    own = _own_limit(spec, source)
    asked = spec.limits.max_sequence
    if not spec.has_own_limit:
        if own.positions is not None and asked > own.positions:
            raise BadCheckpoint(
                f"the catalog's max_sequence of {spec.name} is {asked}, and {source.text} has {own.positions} positions"
                f" ({CONFIG_FILE}); lower it, or leave it out"
            )
        if own.tokens is not None and asked > own.tokens:
            remark = f"max_sequence is {own.tokens}, not the catalog's {asked}: {own.said_by} says so"
            return SettledLimits(replace(spec.limits, max_sequence=own.tokens), f"{spec.name}: {remark}")
        return SettledLimits(spec.limits)
    if own.tokens is None:
        return SettledLimits(spec.limits)
    return _as_long_as_fits(spec, source, own, devices)


def _as_long_as_fits(spec: ModelSpec, source: Source, own: OwnLimit, devices: Iterable[DeviceSpec]) -> SettledLimits:
    """The model's own limit, halved until no device is lost by it that has room for the model at the least limit."""

    def needed(tokens: int) -> int:
        limits = replace(spec.limits, max_sequence=tokens)
        return estimate_footprint(replace(spec, limits=limits), source).total_bytes

    assert own.tokens is not None
    least = min(own.tokens, Limits().max_sequence)
    budgets = {device.id: int(device.total_bytes * device.fraction) for device in devices}
    holding = {device: budget for device, budget in budgets.items() if needed(least) <= budget}
    tokens = own.tokens
    if not holding:
        return SettledLimits(replace(spec.limits, max_sequence=least if budgets else tokens))
    smallest = min(holding, key=lambda device: holding[device])
    while tokens > least and needed(tokens) > holding[smallest]:
        tokens = max(least, tokens // 2)
    limits = replace(spec.limits, max_sequence=tokens)
    if tokens == own.tokens:
        return SettledLimits(limits)
    return SettledLimits(
        limits,
        f"{spec.name}: max_sequence is lowered to {tokens}: with its own {own.tokens} ({own.said_by}) it would need"
        f" {format_size(needed(own.tokens))}, more than {smallest}'s {format_size(holding[smallest])}; the catalog may set it",
    )


def _own_limit(spec: ModelSpec, source: Source) -> OwnLimit:
    if source.synthetic_kind is None:
        return own_limit(source.folder, spec.task)
    positions, key = positions_of(RECIPES[source.synthetic_kind].config)
    return OwnLimit(positions, positions, f"{CONFIG_FILE}: {key}")


def positions_of(config: Mapping[str, Any]) -> tuple[int | None, str]:
    """How many tokens a config.json's values give positions for, and the key that says so; None where nothing does."""
    nested = config.get("text_config")
    part = nested if isinstance(nested, dict) else config
    family = str(part.get("model_type", config.get("model_type")))
    if family in _RELATIVE:
        return None, ""
    for key in _POSITIONS:
        value = part.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            if family in _BEHIND_PADDING:
                padding = part.get("pad_token_id") if family != "mpnet" else None
                value -= (padding if isinstance(padding, int) else _PADDING) + 1
            return max(1, value), key
    return None, ""


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadCheckpoint(f"{path} can't be read: {error}") from error
