"""The rows of several texts that are written together: their keys and values in one cache, which rows join and leave between two
tokens, and what may be written that way.

Rows end in the same column and are padded on the left, so that a step appends one column for all. The cache is transformers' own
`DynamicCache` without a configuration: then every layer keeps all tokens, rows can be stacked, and windows are kept by the mask.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Final, Protocol

import torch
from torch.nn.functional import pad
from transformers import (
    DynamicCache,
    GenerationMixin,
    LogitsProcessorList,
    PreTrainedConfig,
    PreTrainedModel,
    UnbatchedClassifierFreeGuidanceLogitsProcessor,
)
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

_STACKED: Final = (DynamicLayer, DynamicSlidingWindowLayer)
"""Layers that hold keys and values of tokens. All others hold a state, of which nobody can tell what padding does to it."""
_POSITIONS_FROM_MASK: Final = ("bloom",)
"""Families whose forward takes no positions, since it counts them in the mask."""
_KNOWN_INPUTS: Final = ("phi3", "phimoe")
"""Families that prepare inputs in a way of their own which changes nothing below `longest_shared`."""
_USUAL: Final = {"attention_mask", "position_ids", "past_key_values", "use_cache", "logits_to_keep"}
"""What `generate` gives to a forward that a step of several rows gives as well."""


class Forward:
    """Runs a decoder on new tokens of rows whose earlier ones are in a cache."""

    def __init__(self, module: PreTrainedModel) -> None:
        self._module: Final = module
        taken = inspect.signature(module.forward).parameters
        self._takes_positions: Final = "position_ids" in taken
        self._last_only: Final = {"logits_to_keep": 1} if "logits_to_keep" in taken else {}

    def __call__(
        self, tokens: list[list[int]], positions: list[list[int]], cache: DynamicCache, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The scores of what follows the last token of each row."""
        device = self._module.device
        places = {"position_ids": torch.tensor(positions, device=device)} if self._takes_positions else {}
        answer: Any = self._module(
            input_ids=torch.tensor(tokens, device=device),
            attention_mask=None if mask is None else mask.to(device),
            past_key_values=cache,
            use_cache=True,
            **places,
            **self._last_only,
        )
        scores: torch.Tensor = answer.logits[:, -1]
        return scores


class Reading:
    """A prompt that is read in pieces, into a cache of its own."""

    def __init__(self, forward: Forward, prompt: list[int]) -> None:
        self._forward: Final = forward
        self.prompt: Final = prompt
        self.cache = DynamicCache()
        self.done = 0
        """Tokens that were read."""
        self.scores: torch.Tensor | None = None
        """Of what follows the prompt, once all of it was read."""

    def read(self, tokens: int) -> bool:
        """Reads so many more; whether that was the last of it. What fails can be tried again."""
        piece = self.prompt[self.done : self.done + tokens]
        places = list(range(self.done, self.done + len(piece)))
        try:
            scores = self._forward([piece], [places], self.cache)
        except BaseException:
            _shorten(self.cache, self.done)
            raise
        self.done += len(piece)
        if self.done == len(self.prompt):
            self.scores = scores
        return self.scores is not None


class SharedRows:
    """Texts that are written together, the oldest first. What fails leaves them as they were, and can be tried again."""

    def __init__(self, forward: Forward) -> None:
        self._forward: Final = forward
        self._cache = DynamicCache()
        self._lengths: list[int] = []
        """Of the tokens of each row that the cache holds."""

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def columns(self) -> int:
        """Tokens that the cache holds of each row, padding included."""
        return max(self._lengths, default=0)

    @property
    def held_bytes(self) -> int:
        """Of keys and values."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in _stored(self._cache))

    def join(self, reading: Reading) -> None:
        """One more row, whose prompt was read."""
        if not self._lengths:
            self._cache, self._lengths = reading.cache, [len(reading.prompt)]
            return
        rows, columns = len(self._lengths), self.columns
        width = max(columns, len(reading.prompt))
        try:
            for layer, own in zip(_stored(self._cache), _stored(reading.cache), strict=True):
                keys = torch.cat([_widened(layer.keys, width), _widened(own.keys, width)])
                layer.values = torch.cat([_widened(layer.values, width), _widened(own.values, width)])
                layer.keys = keys
        except BaseException:
            for layer in _stored(self._cache):
                layer.keys, layer.values = (_kept(t, rows, columns) for t in (layer.keys, layer.values))
            raise
        self._lengths.append(len(reading.prompt))

    def step(self, last: Sequence[int]) -> torch.Tensor:
        """The scores of what follows, from the newest token of each row."""
        columns = self.columns
        mask = None
        if min(self._lengths) < columns:  # without padding no mask: that is how one row runs in `generate`, and quicker
            lengths = torch.tensor(self._lengths)
            mask = (torch.arange(columns + 1)[None, :] >= columns - lengths[:, None]).long()
        places = [[length] for length in self._lengths]
        try:
            scores = self._forward([[token] for token in last], places, self._cache, mask)
        except BaseException:
            _shorten(self._cache, columns)
            raise
        self._lengths = [length + 1 for length in self._lengths]
        return scores

    def keep(self, rows: list[int]) -> None:
        """Have all others leave, and the columns that only they needed."""
        if len(rows) == len(self._lengths):
            return
        if not rows:
            self._cache, self._lengths = DynamicCache(), []
            return
        before = len(self._lengths)
        lengths = [self._lengths[row] for row in rows]
        spare = self.columns - max(lengths)
        for layer in _stored(self._cache):
            if len(layer.keys) == before:  # else a try before this one, which failed, came as far as here
                kept = torch.tensor(rows, device=layer.keys.device)
                keys = layer.keys[:, :, spare:].index_select(0, kept)
                layer.values = layer.values[:, :, spare:].index_select(0, kept)
                layer.keys = keys
        self._lengths = lengths


class _Stored(Protocol):
    """A layer with keys and values in it: rows, heads, columns, and what a head has of a token."""

    keys: torch.Tensor
    values: torch.Tensor


def _stored(cache: DynamicCache) -> list[_Stored]:
    layers: list[Any] = cache.layers
    return [layer for layer in layers if layer.is_initialized]


def _widened(tensor: torch.Tensor, columns: int) -> torch.Tensor:
    short = columns - tensor.shape[2]
    return pad(tensor, (0, 0, short, 0)) if short else tensor


def _kept(tensor: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Without what a join put behind the rows and before the columns."""
    return tensor[:rows, :, tensor.shape[2] - columns :]


def _shorten(cache: DynamicCache, columns: int) -> None:
    """Take away what a forward that failed appended to some of the layers."""
    if columns == 0:
        cache.reset()  # type: ignore[no-untyped-call]
        return
    for layer in _stored(cache):
        layer.keys, layer.values = layer.keys[:, :, :columns], layer.values[:, :, :columns]


# ── what may be written together ─────────────────────────────────────────────────────────────────


def can_share(
    module: PreTrainedModel, cache: object, given: dict[str, object], processors: LogitsProcessorList
) -> bool:
    """Whether a text of that model may share its steps with others. `cache` and `given` are what `generate` makes ready for its
    forward, which knows the family and its settings best."""
    config = module.config
    text = config.get_text_config()
    return (
        type(cache) is DynamicCache
        and not cache.offloading
        and bool(cache.layers)
        and all(type(layer) in _STACKED for layer in cache.layers)
        and not config.is_encoder_decoder
        and not getattr(text, "attention_chunk_size", None)  # chunks begin at columns, and padding moves those
        and given.keys() <= _USUAL
        and ("position_ids" in given or text.model_type in _POSITIONS_FROM_MASK)
        and (_prepares_as_usual(module) or text.model_type in _KNOWN_INPUTS)
        and _looks_back_only(module)
        # runs the model again for each token, with keys and values that nobody counts
        and not any(isinstance(one, UnbatchedClassifierFreeGuidanceLogitsProcessor) for one in processors)
    )


def _prepares_as_usual(module: PreTrainedModel) -> bool:
    own: object = getattr(type(module), "prepare_inputs_for_generation", None)
    return own is GenerationMixin.prepare_inputs_for_generation


def _looks_back_only(module: PreTrainedModel) -> bool:
    """Unlike an encoder that is asked to write, in which later tokens change what was made of earlier ones. Some decoders
    don't say that they are one, but their attention does."""
    says = getattr(module.config.get_text_config(), "is_decoder", None)
    return says is not False or any(getattr(part, "is_causal", False) for part in module.modules())


def longest_shared(config: PreTrainedConfig) -> int | None:
    """Tokens from which on rotary positions are read in another way, for all rows of a batch once one is so long; None: never.
    Longer texts can't share their steps."""
    text = config.get_text_config()
    parameters = getattr(text, "rope_parameters", None) or {}
    kinds = [parameters, *(value for value in parameters.values() if isinstance(value, dict))]
    changing = [kind for kind in kinds if kind.get("rope_type") in ("longrope", "dynamic")]
    bounds = [
        getattr(text, "original_max_position_embeddings", None),
        *(kind.get("original_max_position_embeddings") for kind in changing),
        *(getattr(text, "max_position_embeddings", None) for kind in changing if kind["rope_type"] == "dynamic"),
    ]
    return min((bound for bound in bounds if bound), default=None)
