"""Texts and pairs of texts to what a head for sequence classification says of them: scores of documents as
sentence-transformers' CrossEncoder gives them, labels as transformers' own pipeline does."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import torch
from msgspec import Struct
from msgspec.structs import replace
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from engine.core.models import Limits
from engine.core.tasks import Classify, LabelScores, Rerank, Scores, TextTokens
from engine.weights.errors import BadCheckpoint
from engine.weights.heads import Head
from engine.worker.embedding import split
from engine.worker.errors import BadRequest
from engine.worker.running import HOST_RUNS, RunMemory, RunOutcome, Say, in_parts
from engine.worker.tokenizer import ReadText, TokenRow, read_text

Input: TypeAlias = tuple[str] | tuple[str, str]
"""A text, or a query and a document."""


class Judgement(Struct, frozen=True):
    """What the head said of some inputs, in their order."""

    logits: torch.Tensor
    """One float32 row an input, a figure a label."""
    tokens: tuple[TextTokens, ...]
    """What was read of each input."""
    filled: float
    """What ran at once, as a share of what the limits allow."""


class Judge:
    """Runs a bound model that ends in a head for sequence classification."""

    def __init__(
        self,
        module: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        head: Head,
        limits: Limits,
        memory: RunMemory = HOST_RUNS,
    ) -> None:
        self._module: Final = module
        self._tokenizer: Final = tokenizer
        self._labels: Final = len(head.labels)
        self._limits: Final = _alone(limits) if _padding_is_read(module, tokenizer) else limits
        self._longest: Final = limits.max_sequence
        self._memory: Final = memory
        self._taken: Final = inspect.signature(module.forward).parameters

    @torch.inference_mode()
    def judge(self, inputs: Sequence[Input], what: str, truncate: bool) -> Judgement:
        """The head's figures. Raises BadRequest for an input that is too long, unless the request or the catalog has it cut;
        `what` is what people call one. Raises BadCheckpoint where a figure is none."""
        read = [self._read(given) for given in inputs]
        tokens = tuple(text.counts for text in read)
        for number, (given, counts) in enumerate(zip(inputs, tokens, strict=True), start=1):
            self._check_length(counts, f"{what} {number}", len(given), truncate or self._limits.truncate)
        kept = [counts.kept for counts in tokens]
        logits = torch.empty((len(read), self._labels), dtype=torch.float32)
        at_once = 0
        for batch in split(kept, self._limits):
            for part, result in in_parts(batch, lambda part: self._run([read[row].row for row in part]), self._memory):
                logits[part] = result
                at_once = max(at_once, len(part) * max(kept[row] for row in part))
        self._check_numbers(logits)
        most_tokens = self._limits.max_batch * self._longest
        return Judgement(logits, tokens, min(1.0, at_once / most_tokens))

    def _read(self, given: Input) -> ReadText:
        return read_text(self._tokenizer, given, self._longest, is_cut=self._longest > self._frame(len(given)))

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

    def _run(self, rows: list[TokenRow]) -> torch.Tensor:
        if len(rows) == 1:
            padded = {name: torch.tensor([tokens]) for name, tokens in rows[0].items()}
        else:
            padded = dict(self._tokenizer.pad(rows, return_tensors="pt"))
        inputs: dict[str, Any] = {n: t.to(self._module.device) for n, t in padded.items() if n in self._taken}
        if "use_cache" in self._taken:
            inputs["use_cache"] = False  # nothing is written after the text, so keys and values are not wanted again
        logits: torch.Tensor = self._module(**inputs).logits
        return logits.float().cpu()

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

    def run(self, task: Rerank, say: Say) -> RunOutcome:
        """Scores of all documents; there are no parts."""
        pairs = [(task.query, document) for document in task.documents]
        judged = self._judge.judge(pairs, "document", task.truncate)
        scores: list[float] = self._activation(judged.logits[:, 0]).tolist()
        return RunOutcome(Scores(tuple(scores), judged.tokens), judged.filled)

    def warm(self) -> None:
        self.run(Rerank("warm", ("warm",), truncate=True), lambda _: None)


class Classifier:
    """Runs a classifier that is bound."""

    def __init__(self, judge: Judge, head: Head) -> None:
        self._judge: Final = judge
        self._head: Final = head

    def run(self, task: Classify, say: Say) -> RunOutcome:
        """Scores of all labels for all texts; there are no parts."""
        judged = self._judge.judge([(text,) for text in task.texts], "text", task.truncate)
        rows: list[list[float]] = self._shares(judged.logits).tolist()
        scores = tuple(map(tuple, rows))
        return RunOutcome(LabelScores(self._head.labels, scores, judged.tokens), judged.filled)

    def warm(self) -> None:
        self.run(Classify(("warm",), truncate=True), lambda _: None)

    def _shares(self, logits: torch.Tensor) -> torch.Tensor:
        match self._head.problem:
            case "regression":
                return logits
            case "multi_label_classification":
                return logits.sigmoid()
            case "single_label_classification":
                return logits.softmax(dim=1)


def _padding_is_read(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a row that is padded may be judged otherwise than alone: a decoder judges by its last token that is not padding,
    and some encoders count positions from it, each by the configuration's word for the padding."""
    configured: int | None = getattr(module.config.get_text_config(), "pad_token_id", None)
    return bool(configured != tokenizer.pad_token_id)


def _alone(limits: Limits) -> Limits:
    return replace(limits, max_batch=1)
