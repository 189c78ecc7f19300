"""What a model can be asked: a struct for each task, the parts that its answer comes in, and the result that ends it.

All of it travels as it is, from the client over the engine to the worker and back: what a task says is written down here and
nowhere else. The texts and vectors of a result belong to whoever asked; the engine only passes them on.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from math import inf
from sys import byteorder
from typing import Final, Literal, TypeAlias, TypedDict

from msgspec import Struct

from engine.core.names import DeviceId, ModelName
from engine.core.texts import fault_of_text

TaskKind: TypeAlias = Literal["embedding", "generation", "rerank", "classify"]
"""What a model of the catalog is for."""

WorkUnit: TypeAlias = Literal["rows", "tokens"]
"""What a task's work is counted in."""


def unit_of_work(kind: TaskKind) -> WorkUnit:
    """Tokens written, or rows: texts, documents."""
    return "tokens" if kind == "generation" else "rows"


# ── tasks ────────────────────────────────────────────────────────────────────────────────────────


class Embed(Struct, frozen=True, tag="embed"):
    """One vector a text. Result: Vectors; no parts."""

    texts: tuple[str, ...]
    prompt: str | None = None
    """The name of one of the model's prompts, which comes before each text; its default one where this is left out."""
    prompt_text: str | None = None
    """A prompt in so many words, in the place of a name."""
    dimensions: int | None = None
    """Keep the first so many figures of each vector, as models of Matryoshka kind are made for; all where it is left out."""
    truncate: bool = False
    """Cut texts that are too long instead of refusing them."""
    tokens: tuple[tuple[int, ...], ...] = ()
    """In the place of `texts`: each as the model's own tokens, which are taken as they are, special ones and prompt included."""

    @property
    def work(self) -> int:
        """As demand is recorded: texts."""
        return len(self.texts) + len(self.tokens)


class Message(Struct, frozen=True):
    """One turn of a conversation."""

    role: str
    """As the model's chat template knows it: mostly `system`, `user` or `assistant`."""
    content: str


class EmbedOptions(TypedDict, total=False):
    """How vectors are made, for those who pass it on: the fields of `Embed` that have a default."""

    prompt: str | None
    prompt_text: str | None
    dimensions: int | None
    truncate: bool


class GenerateSettings(TypedDict, total=False):
    """How a model writes, for those who pass it on: the fields of `Generate` that have a default."""

    template: str
    sample: bool
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    repetition_penalty: float | None
    presence_penalty: float
    frequency_penalty: float
    as_fits: bool
    seed: int | None
    stop: tuple[str, ...]


class Generate(Struct, frozen=True, tag="generate"):
    """What a model writes after a prompt. Parts: TextPart…; result: Continuation.

    It writes the most likely token each time, unless it is asked to draw; the other settings that a checkpoint has for writing
    (repetition penalty, forbidden words, tokens that end a text, …) are the checkpoint's own where nothing is asked. Raises
    ValueError, saying what to write, for a request that can't be meant.
    """

    prompt: str | tuple[Message, ...]
    """A text, gone on with as it is; or a conversation, put in the form that the model's own chat template gives it."""
    max_tokens: int = 32
    """A prompt that leaves no room for so many within the model's limit is refused."""
    template: str = ""
    """Which chat template, of a model that has several by name."""
    sample: bool = False
    """Draw, with the checkpoint's own temperature, top_p, top_k and min_p where none are given here. Each of these alone asks
    for it, too; temperature 0, or next to it, never draws."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    """0: all tokens. Where neither request nor checkpoint says one, transformers' 50."""
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    """Of a draw: the same seed gives the same text on the same kind of device. None: a new one each time, named in the result."""
    stop: tuple[str, ...] = ()
    """The text ends before the first of these."""
    presence_penalty: float = 0.0
    """Taken off the score of each token that has been written already."""
    frequency_penalty: float = 0.0
    """The same for each time that it has been."""
    as_fits: bool = False
    """Write less than `max_tokens` where the prompt leaves room for less, instead of refusing."""

    def __post_init__(self) -> None:
        if fault := _fault_of(self):
            raise ValueError(fault)

    @property
    def work(self) -> int:
        """As demand is recorded: tokens, the most that may be written."""
        return self.max_tokens

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn by chance."""
        if self.temperature is not None and self.temperature < _COLDEST:
            return False
        return self.sample or any(x is not None for x in (self.temperature, self.top_p, self.top_k, self.min_p))


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


MOST_ROWS: Final = 1 << 16
MOST_CHARACTERS: Final = 16 << 20
"""Of all texts of a request together: what a body may have, whoever asks."""
MOST_NUMBER: Final = (1 << 31) - 1
"""Of a token, or of dimensions, on either side of zero: far more than any model has."""
MOST_WRITTEN: Final = 1 << 20
MOST_STOPS: Final = 64


def beyond_bounds(task: Task) -> str:
    """Which bound the task is beyond, in words; empty for one that may be asked."""
    match task:
        case Embed():
            rows, texts = task.work, (*task.texts, task.prompt or "", task.prompt_text or "")
            tokens = sum(map(len, task.tokens))
            if _largest_number(task) > MOST_NUMBER:
                return f"a token, and dimensions, is a number of at most {MOST_NUMBER}; this one is beyond that"
        case Rerank():
            rows, texts, tokens = task.work, (task.query, *task.documents), 0
        case Classify():
            rows, texts, tokens = task.work, task.texts, 0
        case Generate():
            rows, texts, tokens = 1, _texts_of(task), 0
            if task.max_tokens > MOST_WRITTEN:
                return f"max_tokens is at most {MOST_WRITTEN}, not {task.max_tokens}"
            if len(task.stop) > MOST_STOPS:
                return f"a request has at most {MOST_STOPS} stop strings, not {len(task.stop)}"
    if rows > MOST_ROWS:
        return f"a request has at most {MOST_ROWS} texts, this one has {rows}; send them in several"
    if (characters := max(tokens, sum(map(len, texts)))) > MOST_CHARACTERS:
        return f"the texts of a request have at most {MOST_CHARACTERS} characters, or tokens, together; these have {characters}"
    return ""


def _largest_number(task: Embed) -> int:
    """On either side of zero. Asked of each row as a whole: there may be millions of tokens."""
    return max(abs(task.dimensions or 0), *(max(max(row), -min(row)) for row in task.tokens if row), 0)


def _texts_of(task: Generate) -> tuple[str, ...]:
    said = (
        (task.prompt,) if isinstance(task.prompt, str) else tuple(t for m in task.prompt for t in (m.role, m.content))
    )
    return (*said, *task.stop, task.template)


def _fault_of(task: Generate) -> str:
    """Why the task can't be meant, in words; empty where it can."""
    if task.max_tokens < 1:
        return f"at least one token must be asked for, not {task.max_tokens}"
    for name, value, is_allowed, allowed in _figures(task):
        if value is not None and not is_allowed(value):
            return f"{name} must be {allowed}, not {value}"
    if "" in task.stop:
        return "a stop string is empty: every text would end before its beginning"
    if not task.prompt and not isinstance(task.prompt, str):
        return "a conversation needs at least one message"
    if task.template and isinstance(task.prompt, str):
        return "a chat template puts messages into form; a raw prompt has none"
    broken = next(filter(None, map(fault_of_text, _texts_of(task))), "")
    return f"the text {broken}" if broken else ""


def _figures(task: Generate) -> tuple[tuple[str, float | None, Callable[[float], bool], str], ...]:
    """The settings that are numbers, and what they may be; nothing but a number is, so that NaN is refused, too."""
    return (
        ("temperature", task.temperature, lambda x: 0 <= x < inf, "0 or more; 0 writes the most likely token"),
        ("top_p", task.top_p, lambda x: 0 < x <= 1, "above 0 and at most 1"),
        ("top_k", task.top_k, lambda x: 0 <= x < _LARGEST_COUNT, "0 or more; 0 means all tokens"),
        ("min_p", task.min_p, lambda x: 0 <= x <= 1, "from 0 to 1"),
        ("repetition_penalty", task.repetition_penalty, _is_repetition, "from 0.000001 to 1000000; 1 is none"),
        ("presence_penalty", task.presence_penalty, lambda x: -_PENALTY <= x <= _PENALTY, "from -2 to 2; 0 is none"),
        ("frequency_penalty", task.frequency_penalty, lambda x: -_PENALTY <= x <= _PENALTY, "from -2 to 2; 0 is none"),
        ("seed", task.seed, lambda x: 0 <= x < _SEEDS, "a whole number from 0 to 2^64 - 1"),
    )


def _is_repetition(x: float) -> bool:
    """Scores are multiplied and divided by it, and must stay numbers."""
    return 1e-6 <= x <= 1e6


_PENALTY: Final = 2.0
_COLDEST: Final = 1e-20
"""The scores of a model, divided by less, are no numbers any more."""
_LARGEST_COUNT: Final = 1 << 31
_SEEDS: Final = 1 << 64


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
    """One row a text, in the order of the texts."""

    dimensions: int
    figures: bytes
    """Row-major float32, little-endian: read where they are wanted, never on the engine's loop."""
    tokens: tuple[TextTokens, ...] = ()
    """One a text."""
    normalized: bool = True
    """Whether the rows have unit length, as the model's files ask for or not."""
    similarity: str = "cosine"
    """How they are meant to be compared, as the model's files say."""
    prompt: str = ""
    """What came before each text."""

    def rows(self) -> list[list[float]]:
        """The vectors as numbers."""
        figures = array("f", self.figures)
        if byteorder == "big":
            figures.byteswap()
        return [figures[start : start + self.dimensions].tolist() for start in range(0, len(figures), self.dimensions)]


Ended: TypeAlias = Literal["eos", "stop", "length"]
"""Why a text ended: with a token that the model ends texts with, before a stop string, or as long as was asked for."""


class Continuation(Struct, frozen=True, tag="continuation"):
    """What a model wrote, without the prompt."""

    text: str
    tokens: int
    """Written, one that ended the text included."""
    ended: Ended = "length"
    stop: str = ""
    """The stop string, where one ended it. The text has it only where it is the checkpoint's own, as in transformers."""
    prompt_tokens: int = 0
    """Of the prompt, as the model saw them: all are kept, since a prompt that does not fit is refused."""
    seed: int | None = None
    """None where nothing was drawn."""


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
    loaded_s: float | None = None
    """So much of that it waited for its model to be brought to the device; None where it was there."""
    fallback: str = ""
    """Why it ran on the CPU and on no GPU; empty where it did not, and where that is what the operator wants."""


RunEvent: TypeAlias = TaskPart | RunResult
