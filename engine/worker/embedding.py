"""Texts to vectors, as sentence-transformers makes them: batches that keep the model's limits, prompts, texts that are too long,
and answers that are none."""

from __future__ import annotations

from typing import Any, Final

import torch
import transformers
from msgspec import Struct
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from engine.core.models import Limits
from engine.core.tasks import Embed, TextTokens, Vectors
from engine.worker.errors import BadRequest, NoAnswer
from engine.worker.running import HOST_RUNS, RunMemory, RunOutcome, Say, in_parts
from engine.worker.sentence_modules import ModulesBehind
from engine.worker.tokenizer import ReadText, read_in_lower_case, read_text

_UNPADDED: Final = 0
"""What padding is filled with where the tokenizer knows none: its place is masked."""


class Embedded(Struct, frozen=True):
    """What a run made of texts."""

    vectors: torch.Tensor
    """One float32 row a text, in the order of the texts."""
    tokens: tuple[TextTokens, ...]
    prompt: str
    """What came before each."""
    filled: float
    """How much of what the limits allow ran at once, 0 to 1."""


class _Prompt(Struct, frozen=True):
    text: str = ""
    tokens: int = 0


class Embedder:
    """Runs an embedding model that is bound."""

    def __init__(
        self,
        module: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        behind: ModulesBehind,
        limits: Limits,
        memory: RunMemory = HOST_RUNS,
    ) -> None:
        """Raises BadCheckpoint."""
        self._module: Final = module
        self._tokenizer: Final = tokenizer
        self._behind: Final = behind
        self._limits: Final = limits
        self._memory: Final = memory
        self._words: Final = _vocabulary_of(module)
        self._dimensions: Final = behind.format.dimensions(module.config.get_text_config().hidden_size)
        if behind.format.lower_case:
            read_in_lower_case(tokenizer)

    def run(self, task: Embed, say: Say) -> RunOutcome:
        """Vectors of all texts; there are no parts."""
        made = self.embed(task)
        form = self._behind.format
        vectors = Vectors(
            made.vectors.shape[1],
            made.vectors.numpy().tobytes(),
            made.tokens,
            form.normalizes,
            form.similarity,
            made.prompt,
        )
        return RunOutcome(vectors, made.filled)

    @torch.inference_mode()
    def warm(self) -> None:
        tokens = read_text(self._tokenizer, ("warm",), self._limits.max_sequence).tokens
        self._run([tokens or [_UNPADDED]], 0, None)

    @torch.inference_mode()
    def embed(self, task: Embed) -> Embedded:
        """Raises BadRequest for a text that is too long or empty, an unknown prompt or too many dimensions; NoAnswer where the
        model answers with what is none."""
        if task.dimensions is not None and not 0 < task.dimensions <= self._dimensions:
            raise BadRequest(
                f"dimensions is {task.dimensions}; its vectors have {self._dimensions}, of which 1 or more stay"
            )
        prompt = self._prompt(task)
        rows = [self._read(number, prompt.text + text, task) for number, text in enumerate(task.texts, 1)]
        vectors, filled = self._run([row.tokens for row in rows], prompt.tokens, task.dimensions)
        self._check(vectors)
        tokens = tuple(row.counts for row in rows)
        return Embedded(vectors, tokens, prompt.text, filled)

    def _run(self, rows: list[list[int]], prompt_tokens: int, dimensions: int | None) -> tuple[torch.Tensor, float]:
        """Their vectors, in as few batches as limits and memory allow, and how much of the limits ran at once."""
        at_once = 0
        vectors = torch.empty((len(rows), dimensions or self._dimensions), dtype=torch.float32)
        for batch in split([len(row) for row in rows], self._limits):
            for part, result in in_parts(
                batch,
                lambda part: self._embed_rows([rows[row] for row in part], prompt_tokens, dimensions),
                self._memory,
            ):
                vectors[part] = result
                at_once = max(at_once, len(part) * max(len(rows[row]) for row in part))
        return vectors, min(1.0, at_once / (self._limits.max_batch * self._limits.max_sequence))

    def _prompt(self, task: Embed) -> _Prompt:
        form = self._behind.format
        if task.prompt is not None and task.prompt_text is not None:
            raise BadRequest("a prompt is asked for by its name and in so many words; leave one of them out")
        name = form.default_prompt if task.prompt is None else task.prompt
        text = task.prompt_text
        if text is None and name is not None:
            if name not in form.prompts:
                names = (
                    f"it has {', '.join(form.prompts)}" if form.prompts else "it has none; give one in so many words"
                )
                raise BadRequest(f"it has no prompt {name!r}; {names}")
            text = form.prompts[name]
        if not text:
            return _Prompt()
        tokens = read_text(self._tokenizer, (text,), self._limits.max_sequence).tokens
        ends_in_text = not tokens or tokens[-1] not in self._tokenizer.all_special_ids
        return _Prompt(text, len(tokens) if ends_in_text else len(tokens) - 1)

    def _read(self, number: int, text: str, task: Embed) -> ReadText:
        limit = self._limits.max_sequence
        row = read_text(self._tokenizer, (text,), limit)
        if row.seen > limit and not (task.truncate or self._limits.truncate):
            seen = f"{row.seen} tokens" if row.read_whole else f"more than {row.seen} tokens"
            raise BadRequest(
                f"text {number} has {seen}, and the limit is {limit}; shorten it, or have it cut: --truncate, truncate=True,"
                ' or "truncate": true in the catalog\'s limits'
            )
        if not row.tokens:
            raise BadRequest(f"text {number} is empty: it has no token of which a vector could be made")
        if max(row.tokens) >= self._words:
            raise BadRequest(
                f"text {number} holds the token {self._tokenizer.decode([max(row.tokens)])!r}, of number {max(row.tokens)}, and"
                f" the model knows {self._words}; its tokenizer belongs to another model"
            )
        return row

    def _embed_rows(self, rows: list[list[int]], prompt_tokens: int, dimensions: int | None) -> torch.Tensor:
        ids, mask = self._padded(rows)
        hidden = self._module(input_ids=ids, attention_mask=mask).last_hidden_state
        return self._behind.vectors(hidden, mask, prompt_tokens, dimensions)

    def _padded(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token numbers and mask, padded on the side that the tokenizer says."""
        width = max(map(len, rows))
        padding = self._tokenizer.pad_token_id
        ids = torch.full((len(rows), width), _UNPADDED if padding is None else padding)
        mask = torch.zeros_like(ids)
        on_the_left = self._tokenizer.padding_side == "left"
        for number, row in enumerate(rows):
            place = slice(width - len(row), width) if on_the_left else slice(len(row))
            ids[number, place] = torch.tensor(row)
            mask[number, place] = 1
        return ids.to(self._module.device), mask.to(self._module.device)

    def _check(self, vectors: torch.Tensor) -> None:
        bad = ~vectors.isfinite().all(dim=1) | ~vectors.any(dim=1)
        if not bad.any():
            return
        row = int(bad.int().argmax())
        what = "zeros only" if vectors[row].isfinite().all() else "values that are no numbers"
        dtype = str(self._module.dtype).removeprefix("torch.")
        overflow = "it overflows in float16: choose bfloat16 or float32, or " if dtype == "float16" else ""
        raise NoAnswer(
            f"the vector of text {row + 1} has {what}, so that there is no answer; likely {overflow}its weights are"
            " damaged: fetch the checkpoint again"
        )


def _vocabulary_of(module: PreTrainedModel) -> int:
    """How many tokens have a row of their own among the model's embeddings."""
    return int(
        getattr(module.get_input_embeddings(), "num_embeddings", 0) or module.config.get_text_config().vocab_size
    )


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


def encoder_class(config: PreTrainedConfig) -> Any:  # noqa: ANN401 - transformers' classes share no type
    """The class that loads a checkpoint of this configuration for embeddings. Of a family with a decoder only the encoder makes
    them, and has a class of its own, such as T5EncoderModel."""
    family = type(config).__name__.removesuffix("Config")
    return getattr(transformers, f"{family}EncoderModel", AutoModel)
