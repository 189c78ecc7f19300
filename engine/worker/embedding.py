"""Texts to vectors, as sentence-transformers makes them: prompts, texts that are too long, and answers that are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import torch
import transformers
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from engine.core.models import Limits
from engine.core.tasks import Embed, Vectors
from engine.worker.company import suffers_company
from engine.worker.errors import BadRequest, NoAnswer
from engine.worker.lanes import Turn
from engine.worker.row_lane import ReadRows, RowLane, forward_alone
from engine.worker.running import HOST_RUNS, RunMemory
from engine.worker.sentence_modules import ModulesBehind
from engine.worker.tokenizer import ReadText, read_in_lower_case, read_text, read_texts

_UNPADDED: Final = 0
"""What padding is filled with where the tokenizer knows none: its place is masked."""


class EmbedRow(NamedTuple):
    """A text, and what comes before it."""

    tokens: list[int]
    prompt_tokens: int


class _Prompt(NamedTuple):
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
        self.limits: Final = limits
        self.memory: Final = memory
        self.width: Final = behind.format.dimensions(module.config.get_text_config().hidden_size)
        self.suits_company: Final = not suffers_company(module, tokenizer)
        self._module: Final = module
        self._tokenizer: Final = tokenizer
        self._behind: Final = behind
        self._words: Final = _vocabulary_of(module)
        if behind.format.lower_case:
            read_in_lower_case(tokenizer)

    def lane(self, name: str, turn: Turn) -> RowLane:
        return RowLane(self, self.read, turn, name)

    def warm(self) -> None:
        tokens = read_text(self._tokenizer, ("warm",), self.limits.max_sequence).tokens
        forward_alone(self, [EmbedRow(tokens or [_UNPADDED], 0)])

    def read(self, task: Embed) -> ReadRows[EmbedRow]:
        """Raises BadRequest for a text that is too long or empty, an unknown prompt or too many dimensions. Its result raises
        NoAnswer where the model answers with what is none."""
        if task.dimensions is not None and not 0 < task.dimensions <= self.width:
            raise BadRequest(f"dimensions is {task.dimensions}; its vectors have {self.width}, of which 1 or more stay")
        prompt = _Prompt() if task.tokens else self._prompt(task)
        texts = self._as_given(task) if task.tokens else self._read_texts(task, prompt)
        for number, text in enumerate(texts, 1):
            self._check_text(number, text, task)
        rows = [EmbedRow(text.tokens, prompt.tokens) for text in texts]
        counts = tuple(text.counts for text in texts)

        def result(vectors: torch.Tensor) -> Vectors:
            made = self._behind.shortened(vectors, task.dimensions)
            self._check_vectors(made)
            form = self._behind.format
            kept = made.shape[1], made.numpy().tobytes()
            return Vectors(*kept, counts, form.normalizes, form.similarity, prompt.text)

        return ReadRows(rows, [len(row.tokens) for row in rows], result)

    def _read_texts(self, task: Embed, prompt: _Prompt) -> list[ReadText]:
        return read_texts(self._tokenizer, [(prompt.text + text,) for text in task.texts], self.limits.max_sequence)

    def _as_given(self, task: Embed) -> list[ReadText]:
        """Texts that have come as tokens."""
        if task.texts or task.prompt is not None or task.prompt_text is not None:
            raise BadRequest("tokens are taken as they are; leave texts and prompts out")
        if any(token < 0 for tokens in task.tokens for token in tokens):
            raise BadRequest("a token has a number below 0")
        limit = self.limits.max_sequence
        return [ReadText({"input_ids": list(tokens[:limit])}, len(tokens), read_whole=True) for tokens in task.tokens]

    @torch.inference_mode()
    def forward(self, rows: Sequence[EmbedRow]) -> torch.Tensor:
        """Their vectors, in one batch."""
        ids, mask = self._padded([row.tokens for row in rows])
        hidden = self._module(input_ids=ids, attention_mask=mask).last_hidden_state
        return self._behind.vectors(hidden, mask, [row.prompt_tokens for row in rows])

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
        tokens = read_text(self._tokenizer, (text,), self.limits.max_sequence).tokens
        ends_in_text = not tokens or tokens[-1] not in self._tokenizer.all_special_ids
        return _Prompt(text, len(tokens) if ends_in_text else len(tokens) - 1)

    def _check_text(self, number: int, row: ReadText, task: Embed) -> None:
        """Raises BadRequest for a text that is not to be read as it is."""
        limit = self.limits.max_sequence
        if row.seen > limit and not (task.truncate or self.limits.truncate):
            seen = f"{row.seen} tokens" if row.read_whole else f"more than {row.seen} tokens"
            raise BadRequest(
                f"text {number} has {seen}, and the limit is {limit}; shorten it, or have it cut: --truncate, truncate=True,"
                ' or "truncate": true in the catalog\'s limits'
            )
        if not row.tokens:
            raise BadRequest(f"text {number} is empty: it has no token of which a vector could be made")
        if max(row.tokens) >= self._words:
            raise BadRequest(
                f"text {number} holds the token of number {max(row.tokens)}, and the model knows {self._words}; "
                + ("it is of another model's" if task.tokens else "its tokenizer belongs to another model")
            )

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

    def _check_vectors(self, vectors: torch.Tensor) -> None:
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


def encoder_class(config: PreTrainedConfig) -> Any:  # noqa: ANN401 - transformers' classes share no type
    """The class that loads a checkpoint of this configuration for embeddings. Of a family with a decoder only the encoder makes
    them, and has a class of its own, such as T5EncoderModel."""
    family = type(config).__name__.removesuffix("Config")
    return getattr(transformers, f"{family}EncoderModel", AutoModel)
