"""Texts to unit vectors, as sentence-transformers makes them: batches that keep the model's limits, one vector from those of a
text's tokens in the way that the checkpoint was trained for, and what a checkpoint says of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
import transformers
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from engine.core.models import Limits
from engine.core.tasks import Embed, Vectors
from engine.weights.recipes import Pooling
from engine.worker.running import HOST_RUNS, RunMemory, RunOutcome, Say, in_parts
from engine.worker.tokenizer import longest_input

_FEWEST_TOKENS: Final = 1e-9
_SMALLEST_NORM: Final = 1e-12


class Embedder:
    """Runs an embedding model that is bound."""

    def __init__(
        self,
        module: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pooling: Pooling,
        limits: Limits,
        memory: RunMemory = HOST_RUNS,
    ) -> None:
        self._module: Final = module
        self._tokenizer: Final = tokenizer
        self._pooling: Final = pooling
        self._limits: Final = limits
        self._memory: Final = memory

    def run(self, task: Embed, say: Say) -> RunOutcome:
        """Vectors of all texts; there are no parts."""
        vectors, filled = self.embed(task.texts)
        return RunOutcome(Vectors(vectors.shape[1], vectors.numpy().tobytes()), filled)

    def warm(self) -> None:
        self.embed(["warm"])

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> tuple[torch.Tensor, float]:
        """One float32 row a text, of unit length, in the order of the texts; and how much of what the limits allow ran at
        once, 0 to 1."""
        rows = [self._tokens(text) for text in texts]
        most_tokens = self._limits.max_batch * longest_input(self._tokenizer, self._limits)
        at_once = 0
        vectors = torch.empty((len(texts), self._module.config.hidden_size), dtype=torch.float32)
        for batch in split([len(row) for row in rows], self._limits):
            for part, result in in_parts(
                batch, lambda part: self._embed_rows([rows[row] for row in part]), self._memory
            ):
                vectors[part] = result
                at_once = max(at_once, len(part) * max(len(rows[row]) for row in part))
        return vectors, min(1.0, at_once / most_tokens)

    def _tokens(self, text: str) -> list[int]:
        length = longest_input(self._tokenizer, self._limits)
        tokens: list[int] = self._tokenizer(text, truncation=True, max_length=length)["input_ids"]
        return tokens

    def _embed_rows(self, rows: list[list[int]]) -> torch.Tensor:
        padded = self._tokenizer.pad({"input_ids": rows}, return_tensors="pt").to(self._module.device)
        mask = padded["attention_mask"]
        hidden = self._module(input_ids=padded["input_ids"], attention_mask=mask).last_hidden_state
        pooled = pool(hidden, mask, self._pooling)
        return torch.nn.functional.normalize(pooled.float(), dim=1, eps=_SMALLEST_NORM).cpu()


def split(lengths: list[int], limits: Limits) -> list[list[int]]:
    """Batches of row numbers: at most `max_batch` rows, and no more tokens, padding included, than the limits allow.

    Rows of like length go together, so that little is padding.
    """
    most_tokens = limits.max_batch * limits.max_sequence
    batches: list[list[int]] = []
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        # rows come by length, so this one is the longest of its batch
        if batch and (len(batch) == limits.max_batch or (len(batch) + 1) * lengths[row] > most_tokens):
            batches.append(batch)
            batch = []
        batch.append(row)
    return [*batches, batch] if batch else batches


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One vector a row: the first token's, or the mean over the tokens that are not padding."""
    if pooling == "cls":
        return hidden[:, 0]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=_FEWEST_TOKENS)


def encoder_class(config: PreTrainedConfig) -> Any:  # noqa: ANN401 - transformers' classes share no type
    """The class that loads a checkpoint of this configuration for embeddings. Of a family with a decoder only the encoder makes
    them, and has a class of its own, such as T5EncoderModel."""
    family = type(config).__name__.removesuffix("Config")
    return getattr(transformers, f"{family}EncoderModel", AutoModel)
