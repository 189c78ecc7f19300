"""What requests come to, as Python is given it: vectors; documents and labels by their scores, the best first; a text as it
grows, and when it is whole."""

from __future__ import annotations

from msgspec import Struct

from engine.core.names import DeviceId, ModelName
from engine.core.tasks import Ended, LabelScores, Scores, TextPart, TextTokens


class Embeddings(Struct, frozen=True):
    """Vectors of a request, one row a text, and what `Vectors` says of them."""

    model: ModelName
    device: DeviceId
    vectors: list[list[float]]
    seconds: float
    synthetic: bool = False
    tokens: tuple[TextTokens, ...] = ()
    normalized: bool = True
    similarity: str = "cosine"
    prompt: str = ""


class Generation(Struct, frozen=True):
    """What a model wrote; the fields are those of the run's result and of its continuation."""

    model: ModelName
    device: DeviceId
    text: str
    tokens: int
    seconds: float
    synthetic: bool
    ended: Ended
    stop: str
    prompt_tokens: int
    seed: int | None


class RankedDocument(Struct, frozen=True):
    """A document, and how well it answers the query."""

    document: int
    """Its number among those that were given, from 0 on."""
    score: float
    tokens: TextTokens
    """Its own together with the query's."""


class Reranking(Struct, frozen=True):
    """Documents by their scores, the best first; of equal ones the one that was given first."""

    model: ModelName
    device: DeviceId
    ranked: tuple[RankedDocument, ...]
    seconds: float
    synthetic: bool = False


class LabelScore(Struct, frozen=True):
    """A label, and how well it fits."""

    label: str
    score: float


class ClassifiedText(Struct, frozen=True):
    """What a text is, of the labels that its model knows."""

    labels: tuple[LabelScore, ...]
    """All of them, the best first."""
    tokens: TextTokens
    """What was read of the text."""


class Classification(Struct, frozen=True):
    """What the texts of a request are, in their order."""

    model: ModelName
    device: DeviceId
    texts: tuple[ClassifiedText, ...]
    seconds: float
    synthetic: bool = False


def ranked(found: Scores) -> tuple[RankedDocument, ...]:
    """The documents with the scores that were found, the best first."""
    figures = zip(found.scores, found.tokens, strict=True)
    documents = [RankedDocument(number, *of_document) for number, of_document in enumerate(figures)]
    return tuple(sorted(documents, key=lambda document: -document.score))


def classified_texts(found: LabelScores) -> tuple[ClassifiedText, ...]:
    """The texts with the scores that were found of each, in their order."""
    return tuple(
        ClassifiedText(_best_first(found.labels, scores), tokens)
        for scores, tokens in zip(found.scores, found.tokens, strict=True)
    )


def _best_first(labels: tuple[str, ...], scores: tuple[float, ...]) -> tuple[LabelScore, ...]:
    by_label = [LabelScore(label, score) for label, score in zip(labels, scores, strict=True)]
    return tuple(sorted(by_label, key=lambda one: -one.score))


class TextSoFar:
    """A text whose parts come one after the other, for those who can't take back what they have passed on."""

    def __init__(self) -> None:
        self.text = ""

    def add(self, part: TextPart) -> str | None:
        """What is new in it, which may be nothing: a run that begins anew says again what it said. None where it says something
        else than before; the text is as it was then."""
        before = self.text[part.begin :]
        if part.text.startswith(before):
            new = part.text[len(before) :]
            self.text += new
            return new
        return "" if before.startswith(part.text) else None

    def end(self, text: str) -> str | None:
        """What is still to come of the whole text; None where that says something else than before."""
        return text[len(self.text) :] if text.startswith(self.text) else None

    def replace(self, part: TextPart) -> str:
        """Take a part that says something else than before; the whole text as it is now."""
        self.text = self.text[: part.begin] + part.text
        return self.text
