"""How many tokens of a text a model takes: what its own files say, and what the catalog and the devices make of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from engine.core.devices import DeviceSpec
from engine.core.models import Limits, ModelSpec
from engine.core.sizes import format_room, format_size
from engine.core.tasks import TaskKind
from engine.weights.checkpoint_json import CONFIG_FILE, read_json_object
from engine.weights.errors import BadCheckpoint
from engine.weights.estimates import estimate_footprint
from engine.weights.heads import read_head
from engine.weights.recipes import RECIPES
from engine.weights.sentence_files import MODEL_FILE, read_sentence_format
from engine.weights.sources import Source

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
_ROTARY: Final = frozenset(
    {"llama", "mistral", "qwen2", "gemma", "phi", "gpt_neox", "gptj", "nomic_bert", "modernbert"}
)
_ROTARY_KEYS: Final = ("rope_", "rotary_", "global_rope_", "local_rope_")
"""Families that compute their positions, of which older files do not say so, and what the files of others say."""
_UNKNOWN_LENGTH: Final = 1 << 24
"""Tokenizers that know no limit write a number of thirty digits."""


class OwnLimit(Struct, frozen=True):
    """What a model's files say of the longest text."""

    positions: int | None = None
    """How many there are embeddings for; None where they are computed, or where nothing says so."""
    trained: int | None = None
    """How far it was trained to count, where its positions are computed and longer texts can be run."""
    tokens: int | None = None
    """The longest text, at most `positions`; None where nothing says so."""
    said_by: str = ""
    """The file and the key that `tokens` comes from."""

    @property
    def usual(self) -> int | None:
        """The longest text that it was made for; None where nothing says so."""
        return min((tokens for tokens in (self.tokens, self.trained) if tokens), default=None)


class SettledLimits(Struct, frozen=True):
    """A model's limits once its files were read."""

    limits: Limits
    remark: str = ""
    """What is not as the catalog or the model says, in words; empty where all is."""


def own_limit(folder: Path, task: TaskKind) -> OwnLimit:
    """What the files of the checkpoint say. Raises BadCheckpoint."""
    own = positions_of(_read(folder / CONFIG_FILE))
    found = [(own.positions, own.said_by)] if own.positions else []
    sentence = _sentence_limit(folder, task)
    if sentence:
        found.append((sentence, f"{MODEL_FILE}: max_seq_length"))
    else:
        length = _read(folder / TOKENIZER_SETTINGS).get("model_max_length")
        if isinstance(length, int | float) and 0 < length < _UNKNOWN_LENGTH:
            found.append((int(length), f"{TOKENIZER_SETTINGS}: model_max_length"))
    # of equal ones the last is what the model's makers said of texts
    tokens, said_by = min(reversed(found), default=(None, ""), key=lambda limit: limit[0])
    return replace(own, tokens=tokens, said_by=said_by)


def _sentence_limit(folder: Path, task: TaskKind) -> int | None:
    """What the files for sentence-transformers say, which counts more than the tokenizer's word, as there."""
    match task:
        case "embedding":
            return read_sentence_format(folder).max_tokens
        case "rerank" | "classify":
            return read_head(folder).most_tokens
        case "generation":
            return None


def settle_limits(spec: ModelSpec, source: Source, devices: Iterable[DeviceSpec] = ()) -> SettledLimits:
    """The limits that `spec` runs with. Raises BadCheckpoint when the catalog asks for more positions than the model has."""
    own = _own_limit(spec, source)
    if spec.has_own_limit:
        return SettledLimits(spec.limits) if own.usual is None else _as_long_as_fits(spec, source, own.usual, devices)
    asked = spec.limits.max_sequence
    if own.positions is not None and asked > own.positions:
        raise BadCheckpoint(
            f"the catalog's max_sequence of {spec.name} is {asked}, and {source.text} has {own.positions} positions"
            f" ({CONFIG_FILE}); lower it, or leave it out"
        )
    if own.tokens is not None and asked > own.tokens:
        remark = f"{spec.name}: max_sequence is {own.tokens}, not the catalog's {asked}: {own.said_by} says so"
        return SettledLimits(replace(spec.limits, max_sequence=own.tokens), remark)
    if own.trained is not None and asked > own.trained:
        return SettledLimits(spec.limits, f"{spec.name}: max_sequence is {asked}, and it was trained for {own.trained}")
    return SettledLimits(spec.limits)


def _as_long_as_fits(spec: ModelSpec, source: Source, own: int, devices: Iterable[DeviceSpec]) -> SettledLimits:
    """The model's own limit, halved until no device is lost by it that has room for the model at the least limit."""

    def needed(tokens: int) -> int:
        limits = replace(spec.limits, max_sequence=tokens)
        return estimate_footprint(replace(spec, limits=limits), source).total_bytes

    least = min(own, Limits().max_sequence)
    budgets = {device.id: int(device.total_bytes * device.fraction) for device in devices}
    holding = {device: budget for device, budget in budgets.items() if needed(least) <= budget}
    tokens = own
    if not holding:
        return SettledLimits(replace(spec.limits, max_sequence=least if budgets else tokens))
    smallest = min(holding, key=lambda device: holding[device])
    while tokens > least and needed(tokens) > holding[smallest]:
        tokens = max(least, tokens // 2)
    limits = replace(spec.limits, max_sequence=tokens)
    if tokens == own:
        return SettledLimits(limits)
    return SettledLimits(
        limits,
        f"{spec.name}: max_sequence is lowered to {tokens}: with its own {own} it would need"
        f" {format_size(needed(own))}, more than {smallest}'s {format_room(holding[smallest])}; the catalog may set it",
    )


def _own_limit(spec: ModelSpec, source: Source) -> OwnLimit:
    if source.synthetic_kind is None:
        return own_limit(source.folder, spec.task)
    return positions_of(RECIPES[source.synthetic_kind].config)


def positions_of(config: Mapping[str, Any]) -> OwnLimit:
    """What a config.json's values say of positions alone."""
    nested = config.get("text_config")
    part = nested if isinstance(nested, dict) else config
    family = str(part.get("model_type", config.get("model_type")))
    key = next((key for key in _POSITIONS if _count(part.get(key))), None)
    if key is None or family in _RELATIVE:
        return OwnLimit()
    positions = _count(part.get(key))
    if family in _ROTARY or any(name.startswith(_ROTARY_KEYS) for name in part):
        return OwnLimit(trained=max(positions, _stretched(part, positions)))
    if family in _BEHIND_PADDING:
        padding = part.get("pad_token_id") if family != "mpnet" else None
        positions = max(1, positions - (padding if isinstance(padding, int) else _PADDING) - 1)
    return OwnLimit(positions, tokens=positions, said_by=f"{CONFIG_FILE}: {key}")


def _stretched(config: Mapping[str, Any], positions: int) -> int:
    """How far rotary positions reach that are stretched for longer texts."""
    rope = config.get("rope_parameters") or config.get("rope_scaling")
    if not isinstance(rope, dict) or rope.get("rope_type", rope.get("type")) not in ("yarn", "dynamic", "llama3"):
        return positions
    factor, original = rope.get("factor"), _count(rope.get("original_max_position_embeddings"))
    return int(factor * (original or positions)) if isinstance(factor, int | float) else positions


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _read(path: Path) -> dict[str, Any]:
    return read_json_object(path) if path.is_file() else {}
