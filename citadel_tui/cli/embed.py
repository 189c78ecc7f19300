"""`citadel embed`: vectors of texts; for several texts also how alike they are."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Final

from citadel_tui.cli.engine import at_hand, request
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress, table, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.values import count
from citadel_tui.text import clean, shortened
from citadel_tui.words.figures import kept_text, seconds_text
from citadel_tui.words.labels import model_label
from engine.answers import Embeddings
from engine.core.names import ModelName
from engine.core.serialization import to_json

_SHOWN_FIGURES: Final = 5
_SHOWN_TEXT: Final = 32


class EmbedArguments(Arguments, frozen=True, kw_only=True):
    model: ModelName
    texts: Sequence[str]
    prompt: str | None
    prompt_text: str | None
    dimensions: int | None
    truncate: bool
    json: bool


def add_arguments(command: CommandParser) -> None:
    command.add_argument("model")
    command.add_argument("texts", nargs="+", metavar="TEXT")
    prompts = command.add_mutually_exclusive_group()
    prompts.add_argument(
        "--prompt", metavar="NAME", help="what comes before each text, by its name in the model's files"
    )
    prompts.add_argument("--prompt-text", metavar="TEXT", help="the same, in so many words")
    command.add_argument("--dimensions", type=count, metavar="N", help="keep the first N figures of each vector")
    command.add_argument("--truncate", action="store_true", help="cut texts that are too long instead of refusing them")
    command.add_argument("--json", action="store_true", help="the whole vectors")
    command.carried_out_by(run, EmbedArguments)


def run(arguments: EmbedArguments) -> int:
    return request(arguments.model, _embed(arguments))


async def _embed(arguments: EmbedArguments) -> Exit:
    texts = list(arguments.texts)
    async with at_hand(arguments) as engine:
        with progress() as show:
            show(f"{arguments.model} reads {len(texts)} texts")
            embeddings = await engine.embed(
                arguments.model,
                texts,
                prompt=arguments.prompt,
                prompt_text=arguments.prompt_text,
                dimensions=arguments.dimensions,
                truncate=arguments.truncate,
            )
    for number, tokens in enumerate(embeddings.tokens, 1):
        if tokens.is_cut:
            tell(f"text {number} was cut: {kept_text(tokens)} are read")
    if arguments.json:
        print(to_json(embeddings).decode())
    else:
        print(_described(embeddings, texts))
    return Exit.DONE


def _described(embeddings: Embeddings, texts: Sequence[str]) -> str:
    label = model_label(embeddings.model, synthetic=embeddings.synthetic)
    dimensions = len(embeddings.vectors[0])
    facts = [f"{dimensions} dimensions", seconds_text(embeddings.seconds)]
    if not embeddings.normalized:
        facts.append("not of unit length, as the model's files say")
    if embeddings.similarity != "cosine":
        facts.append(f"meant to be compared by {clean(embeddings.similarity)}")
    if embeddings.prompt:
        facts.append(f"each text after {clean(embeddings.prompt)!r}")
    lines = [f"{label} on {embeddings.device}: {', '.join(facts)}"]
    for text, vector in zip(texts, embeddings.vectors, strict=True):
        figures = " ".join(f"{figure:+.4f}" for figure in vector[:_SHOWN_FIGURES])
        lines.append(f"  {figures} …  {_short(text)}")
    if len(texts) > 1:
        lines += ["cosine similarity", _similarities(embeddings.vectors, texts)]
    return "\n".join(lines)


def _similarities(vectors: Sequence[Sequence[float]], texts: Sequence[str]) -> str:
    numbers = [str(number) for number in range(1, len(texts) + 1)]
    rows = [
        [number, *(f"{cosine(one, other):.4f}" for other in vectors), _short(text)]
        for number, one, text in zip(numbers, vectors, texts, strict=True)
    ]
    return table(["", *numbers, "TEXT"], rows, right=numbers)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return _dot(one, other) / sqrt(_dot(one, one) * _dot(other, other))


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _short(text: str) -> str:
    return shortened(text, _SHOWN_TEXT)
