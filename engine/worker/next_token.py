"""How the next token is picked: its scores are made sure to be numbers, and a request that draws has a generator of its own.

transformers draws with the one generator that torch has for the process, which the models of a device, each run by a thread of
its own, would take numbers from in any order. So `generate` runs greedily here, and where a request draws, the last of its
processors leaves one token: drawn from the same scores, changed by transformers' own classes in transformers' order, with a
generator that has the request's seed. What is written is what `torch.manual_seed(seed)` and `generate(do_sample=True)` write on
that kind of device, whatever else runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

import torch
from transformers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    GenerationConfig,
    LogitNormalization,
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)
from transformers.generation.logits_process import TopHLogitsWarper

from engine.core.tasks import Generate
from engine.worker.errors import BadRequest

_USUAL_TOP_K: Final = 50
"""Of transformers, where neither a request nor a checkpoint says one."""

_T = TypeVar("_T")


class NotNumbers(Exception):
    """The model's scores for the next token are none; the words say why, and what to do."""


class _AreNumbers(LogitsProcessor):
    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        # The largest is NaN where any is, infinite where one is too large, and minus infinity where no token may follow.
        best = scores.amax(dim=-1)
        if best.isfinite().all():
            return scores
        if best.isneginf().any():
            raise NotNumbers("no token may follow: the settings for writing forbid all of them")
        raise NotNumbers(
            "the model's scores are no numbers (NaN or infinite), so that there is nothing to write: its weights are damaged, or"
            ' too large for their dtype. Fetch it again, or give it "dtype": "float32" or "bfloat16"'
        )


class _Draw(LogitsProcessor):
    def __init__(self, seed: int, device: torch.device) -> None:
        self._generator: Final = torch.Generator(device).manual_seed(seed)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        drawn = torch.multinomial(scores.softmax(dim=-1), 1, generator=self._generator)
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn, 0.0)


class _Penalties(LogitsProcessor):
    """Of OpenAI's API: each token that was written loses `presence`, and `frequency` for each time that it was. The prompt's own
    tokens count for nothing."""

    def __init__(self, prompt_tokens: int, presence: float, frequency: float) -> None:
        self._prompt_tokens: Final = prompt_tokens
        self._presence: Final = presence
        self._frequency: Final = frequency

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        written = input_ids[:, self._prompt_tokens :]
        counts = torch.zeros_like(scores).scatter_add_(1, written, torch.ones_like(written, dtype=scores.dtype))
        return scores - self._frequency * counts - self._presence * (counts > 0)


def processors(
    task: Generate, config: GenerationConfig, seed: int | None, device: torch.device, prompt_tokens: int
) -> LogitsProcessorList:
    """What `generate` is to do after all that the checkpoint's own settings ask for. `seed`: None for what is not drawn.

    Raises BadRequest for settings of the checkpoint that can't be carried out."""
    first: list[LogitsProcessor] = [_AreNumbers()]
    if task.presence_penalty or task.frequency_penalty:
        first.append(_Penalties(prompt_tokens, task.presence_penalty, task.frequency_penalty))
    if seed is None:
        return LogitsProcessorList(first)
    try:
        return LogitsProcessorList([*first, *_warpers(task, config, device), _Draw(seed, device)])
    except (ValueError, TypeError) as error:
        raise BadRequest(f"what the checkpoint says of drawing tokens can't be meant: {error}") from error


def _warpers(task: Generate, config: GenerationConfig, device: torch.device) -> Iterator[LogitsProcessor]:
    """In the order of `generate(do_sample=True)`."""
    temperature = _first(task.temperature, config.temperature, 1.0)
    if temperature != 1.0:
        yield TemperatureLogitsWarper(float(temperature))
    if config.top_h is not None:
        yield TopHLogitsWarper(top_h=config.top_h)
    if top_k := _first(task.top_k, config.top_k, _USUAL_TOP_K):
        yield TopKLogitsWarper(top_k=top_k)
    if (top_p := _first(task.top_p, config.top_p, 1.0)) < 1.0:
        yield TopPLogitsWarper(top_p=top_p)
    if (min_p := _first(task.min_p, config.min_p, None)) is not None:
        yield MinPLogitsWarper(min_p=min_p)
    if config.typical_p is not None and config.typical_p < 1.0:
        yield TypicalLogitsWarper(mass=config.typical_p)
    if config.epsilon_cutoff is not None and 0.0 < config.epsilon_cutoff < 1.0:
        yield EpsilonLogitsWarper(epsilon=config.epsilon_cutoff)
    if config.eta_cutoff is not None and 0.0 < config.eta_cutoff < 1.0:
        yield EtaLogitsWarper(epsilon=config.eta_cutoff, device=str(device))
    if config.renormalize_logits is True:
        yield LogitNormalization()


def _first(asked: _T | None, checkpoint: _T | None, usual: _T) -> _T:
    """The request's word, else the checkpoint's, else what is usual."""
    return asked if asked is not None else checkpoint if checkpoint is not None else usual
