"""Texts and pairs of texts to what a head for sequence classification says of them: scores of documents as
sentence-transformers' CrossEncoder gives them, labels as transformers' own pipeline does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import torch
from msgspec.structs import replace
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from engine.core.models import Limits
from engine.core.tasks import Classify, LabelScores, Rerank, Scores, TaskResult, TextTokens
from engine.weights.errors import BadCheckpoint
from engine.weights.heads import Head
from engine.worker.company import suffers_company
from engine.worker.errors import BadRequest
from engine.worker.lanes import Turn
from engine.worker.row_lane import ReadRows, RowLane, forward_alone
from engine.worker.running import HOST_RUNS, RunMemory
from engine.worker.tokenizer import TokenRow, read_texts

Pronounce: TypeAlias = Callable[[torch.Tensor, tuple[TextTokens, ...]], TaskResult]
"""Makes a result of the head's figures and of what was read of each input."""

Input: TypeAlias = tuple[str] | tuple[str, str]
"""A text, or a query and a document."""


class Judge:
    """A bound model that ends in a head for sequence classification: a figure a label for each input."""

    def __init__(
        self,
        module: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        head: Head,
        limits: Limits,
        memory: RunMemory = HOST_RUNS,
    ) -> None:
        self.limits: Final = _alone(limits) if _padding_is_read(module, tokenizer) else limits
        self.memory: Final = memory
        self.width: Final = len(head.labels)
        self.suits_company: Final = not suffers_company(module, tokenizer)
        self._module: Final = module
        self._tokenizer: Final = tokenizer
        self._longest: Final = limits.max_sequence
        self._taken: Final = inspect.signature(module.forward).parameters

    def read(self, inputs: Sequence[Input], what: str, truncate: bool, say: Pronounce) -> ReadRows[TokenRow]:
        """The inputs as rows. Raises BadRequest for an input that is too long, unless the request or the catalog has it cut;
        `what` is what people call one. `say` makes the result of the head's figures; where a figure is none, BadCheckpoint
        is raised instead."""
        has_room = self._longest > self._frame(max(map(len, inputs), default=1))
        read = read_texts(self._tokenizer, inputs, self._longest, is_cut=has_room)
        tokens = tuple(text.counts for text in read)
        for number, (given, counts) in enumerate(zip(inputs, tokens, strict=True), start=1):
            self._check_length(counts, f"{what} {number}", len(given), truncate or self.limits.truncate)

        def result(figures: torch.Tensor) -> TaskResult:
            self._check_numbers(figures)
            return say(figures, tokens)

        return ReadRows([text.row for text in read], [counts.kept for counts in tokens], result)

    @torch.inference_mode()
    def forward(self, rows: Sequence[TokenRow]) -> torch.Tensor:
        """The head's figures, in one batch."""
        if len(rows) == 1:
            padded = {name: torch.tensor([tokens]) for name, tokens in rows[0].items()}
        else:
            padded = dict(self._tokenizer.pad(list(rows), return_tensors="pt"))
        inputs: dict[str, Any] = {n: t.to(self._module.device) for n, t in padded.items() if n in self._taken}
        if "use_cache" in self._taken:
            inputs["use_cache"] = False  # nothing is written after the text, so keys and values are not wanted again
        logits: torch.Tensor = self._module(**inputs).logits
        return logits.float().cpu()

    def _frame(self, parts: int) -> int:
        """Tokens that come with any text."""
        return self._tokenizer.num_special_tokens_to_add(pair=parts > 1)

    def _check_length(self, tokens: TextTokens, which: str, parts: int, truncate: bool) -> None:
        """Raises BadRequest for an input that is not to be read as it is."""
        if not tokens.seen:
            raise BadRequest(f"{which} is empty for the model's tokenizer; there is nothing to judge")
        if tokens.is_cut and self._longest <= self._frame(parts):
            raise BadRequest(
                f"{which} can't be cut: the model reads {self._longest} tokens, and {self._frame(parts)} that frame the text are"
                " among them; raise max_sequence in the catalog"
            )
        if tokens.is_cut and not truncate:
            together = " together with the query" if parts > 1 else ""
            more = "" if tokens.read_whole else "more than "
            raise BadRequest(
                f"{which}{together} is {more}{tokens.seen} tokens long, and the model reads {self._longest}; shorten it, or have"
                ' it cut: --truncate, truncate=True, or "truncate": true in the catalog\'s limits'
            )

    def _check_numbers(self, logits: torch.Tensor) -> None:
        if bool(logits.isfinite().all()):
            return
        dtype = str(self._module.dtype).removeprefix("torch.")
        raise BadCheckpoint(
            f"the model's scores are no numbers in {dtype}, so that it has no answer; choose "
            + ("another checkpoint" if dtype == "float32" else "bfloat16 or float32")
        )


class Reranker:
    """Runs a cross-encoder that is bound."""

    def __init__(self, judge: Judge, head: Head) -> None:
        self._judge: Final = judge
        self._activation: Final[torch.nn.Module] = getattr(torch.nn, head.activation)()

    def lane(self, name: str, turn: Turn) -> RowLane:
        return RowLane(self._judge, self._read, turn, name)

    def warm(self) -> None:
        _warm(self._judge, self._read(Rerank("warm", ("warm",), truncate=True)))

    def _read(self, task: Rerank) -> ReadRows[TokenRow]:
        pairs = [(task.query, document) for document in task.documents]
        return self._judge.read(pairs, "document", task.truncate, self._scores)

    def _scores(self, figures: torch.Tensor, tokens: tuple[TextTokens, ...]) -> Scores:
        return Scores(tuple(self._activation(figures[:, 0]).tolist()), tokens)


class Classifier:
    """Runs a classifier that is bound."""

    def __init__(self, judge: Judge, head: Head) -> None:
        self._judge: Final = judge
        self._head: Final = head

    def lane(self, name: str, turn: Turn) -> RowLane:
        return RowLane(self._judge, self._read, turn, name)

    def warm(self) -> None:
        _warm(self._judge, self._read(Classify(("warm",), truncate=True)))

    def _read(self, task: Classify) -> ReadRows[TokenRow]:
        return self._judge.read([(text,) for text in task.texts], "text", task.truncate, self._label_scores)

    def _label_scores(self, figures: torch.Tensor, tokens: tuple[TextTokens, ...]) -> LabelScores:
        rows: list[list[float]] = self._shares(figures).tolist()
        return LabelScores(self._head.labels, tuple(map(tuple, rows)), tokens)

    def _shares(self, logits: torch.Tensor) -> torch.Tensor:
        match self._head.problem:
            case "regression":
                return logits
            case "multi_label_classification":
                return logits.sigmoid()
            case "single_label_classification":
                return logits.softmax(dim=1)


def _warm(judge: Judge, read: ReadRows[TokenRow]) -> None:
    read.result(forward_alone(judge, read.rows))


def _padding_is_read(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a row that is padded may be judged otherwise than alone: a decoder judges by its last token that is not padding,
    and some encoders count positions from it, each by the configuration's word for the padding."""
    configured: int | None = getattr(module.config.get_text_config(), "pad_token_id", None)
    return bool(configured != tokenizer.pad_token_id)


def _alone(limits: Limits) -> Limits:
    return replace(limits, max_batch=1)
