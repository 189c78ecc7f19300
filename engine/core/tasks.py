"""What a model can be asked: a struct for each task, the parts that its answer comes in, and the result that ends it.

All of it travels as it is, from the client over the engine to the worker and back: what a task says is written down here and
nowhere else. The texts and vectors of a result belong to whoever asked; the engine only passes them on.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from sys import byteorder
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from engine.core.names import DeviceId, ModelName

TaskKind: TypeAlias = Literal["embedding", "generation", "rerank", "classify"]
"""What a model of the catalog is for."""

# ── tasks ────────────────────────────────────────────────────────────────────────────────────────


class Embed(Struct, frozen=True, tag="embed"):
    """One vector a text. Result: Vectors; no parts."""

    texts: tuple[str, ...]

    @property
    def work(self) -> int:
        """As demand is recorded: texts."""
        return len(self.texts)


class Generate(Struct, frozen=True, tag="generate"):
    """What a model writes after a prompt. Parts: TextPart…; result: Continuation."""

    prompt: str
    max_tokens: int = 32

    @property
    def work(self) -> int:
        """As demand is recorded: tokens, the most that may be written."""
        return self.max_tokens


class Rerank(Struct, frozen=True, tag="rerank"):
    """How well each document answers a query. Result: Scores; no parts."""

    query: str
    documents: tuple[str, ...]
    truncate: bool = False
    """Whether a pair that is longer than the model reads is cut. Else it is refused."""

    @property
    def work(self) -> int:
        """As demand is recorded: documents."""
        return len(self.documents)


class Classify(Struct, frozen=True, tag="classify"):
    """What each text is, of the labels that the model knows. Result: LabelScores; no parts."""

    texts: tuple[str, ...]
    truncate: bool = False
    """Whether a text that is longer than the model reads is cut. Else it is refused."""

    @property
    def work(self) -> int:
        """As demand is recorded: texts."""
        return len(self.texts)


Task: TypeAlias = Embed | Generate | Rerank | Classify
KIND_OF: Final[dict[type[Task], TaskKind]] = {
    Embed: "embedding",
    Generate: "generation",
    Rerank: "rerank",
    Classify: "classify",
}


def sample_task(
    kind: TaskKind, text: Callable[[int], str], work: int, most_rows: int = 1, most_tokens: int = 8
) -> Task:
    """A request for a model of that kind that asks for so much work, for whoever has to make one up. `text` makes the text
    of a row; at most `most_rows` of them are asked for, or `most_tokens` to be written."""
    match kind:
        case "embedding":
            return Embed(tuple(text(row) for row in range(min(work, most_rows))))
        case "generation":
            return Generate(text(0), min(work, most_tokens))
        case "rerank":
            return Rerank(text(0), tuple(text(row) for row in range(min(work, most_rows))), truncate=True)
        case "classify":
            return Classify(tuple(text(row) for row in range(min(work, most_rows))), truncate=True)


def is_unicode(text: str) -> bool:
    """Whether the text can be written in UTF-8: arguments of a shell may hold other bytes, which Python keeps as lone
    surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# ── what comes back ──────────────────────────────────────────────────────────────────────────────


class TextPart(Struct, frozen=True, tag="text"):
    """Some more of a text. The result has the whole text, so that nobody has to put the parts together."""

    begin: int
    """So many characters come before it. A run that finds no room begins anew, maybe on another device: a part that begins
    before the end of what has come takes the place of all from there on."""
    text: str


TaskPart: TypeAlias = TextPart


class TextTokens(Struct, frozen=True, array_like=True):
    """What a model read of a text, its special tokens and its prompt included."""

    seen: int
    """The text's tokens; where not all of it was read, of the part that was."""
    kept: int
    """Those that the vector is made of."""
    read_whole: bool = True
    """False for a text so much longer than the limit that its rest was not even read."""

    @property
    def is_cut(self) -> bool:
        return self.kept < self.seen


class Vectors(Struct, frozen=True, tag="vectors"):
    """One row a text, unit length, in the order of the texts."""

    dimensions: int
    figures: bytes
    """Row-major float32, little-endian: read where they are wanted, never on the engine's loop."""

    def rows(self) -> list[list[float]]:
        """The vectors as numbers."""
        figures = array("f", self.figures)
        if byteorder == "big":
            figures.byteswap()
        return [figures[start : start + self.dimensions].tolist() for start in range(0, len(figures), self.dimensions)]


class Continuation(Struct, frozen=True, tag="continuation"):
    """What a model wrote, without the prompt."""

    text: str
    tokens: int


class Scores(Struct, frozen=True, tag="scores"):
    """A figure a document, in the order of the documents: the larger, the better it answers the query."""

    scores: tuple[float, ...]
    tokens: tuple[TextTokens, ...]
    """Of each document together with the query."""


class LabelScores(Struct, frozen=True, tag="labels"):
    """A row a text, in the order of the texts, and in each a figure a label."""

    labels: tuple[str, ...]
    """As the model's configuration names them."""
    scores: tuple[tuple[float, ...], ...]
    """Shares that sum to 1 where a text has one label, a share each where it may have several, plain figures of a regression."""
    tokens: tuple[TextTokens, ...]
    """Of each text."""


TaskResult: TypeAlias = Vectors | Continuation | Scores | LabelScores


class RunResult(Struct, frozen=True, tag="result"):
    """The last thing that a run says."""

    model: ModelName
    device: DeviceId
    """Where it ran."""
    result: TaskResult
    seconds: float
    """From when it was asked for until the worker had answered; loading the model is part of it."""
    synthetic: bool = False
    """Whether the model's weights are random, and what it says means nothing."""


RunEvent: TypeAlias = TaskPart | RunResult
