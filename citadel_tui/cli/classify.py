"""`citadel classify`: what texts are, of the labels that a model knows, the best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from citadel_tui.cli.engine import at_hand, request
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress, table, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.text import shortened
from citadel_tui.words.figures import count_text, kept_text, seconds_text
from citadel_tui.words.labels import model_label
from engine.answers import Classification
from engine.core.names import ModelName
from engine.core.serialization import to_json

_SHOWN_LABELS: Final = 3
_SHOWN_TEXT: Final = 48


class ClassifyArguments(Arguments, frozen=True, kw_only=True):
    model: ModelName
    texts: Sequence[str]
    truncate: bool
    json: bool


def add_arguments(command: CommandParser) -> None:
    command.add_argument("model")
    command.add_argument("texts", nargs="+", metavar="TEXT")
    command.add_argument("--truncate", action="store_true", help="cut what is longer than the model reads")
    command.add_argument("--json", action="store_true", help="all labels with their scores")
    command.carried_out_by(run, ClassifyArguments)


def run(arguments: ClassifyArguments) -> int:
    return request(arguments.model, _classify(arguments))


async def _classify(arguments: ClassifyArguments) -> Exit:
    texts = list(arguments.texts)
    async with at_hand(arguments) as engine:
        with progress() as show:
            show(f"{arguments.model} reads {count_text(len(texts), 'text', 'texts')}")
            classification = await engine.classify(arguments.model, texts, arguments.truncate)
    if arguments.json:
        print(to_json(classification).decode())
        return Exit.DONE
    print(_described(classification, texts))
    for number, one in enumerate(classification.texts, start=1):
        if one.tokens.is_cut:
            tell(f"text {number} was cut: {kept_text(one.tokens)} are read")
    return Exit.DONE


def _described(classification: Classification, texts: Sequence[str]) -> str:
    label = model_label(classification.model, synthetic=classification.synthetic)
    counted = count_text(len(texts), "text", "texts")
    rows = []
    for text, one in zip(texts, classification.texts, strict=True):
        best = ", ".join(f"{of_label.label} {of_label.score:.4f}" for of_label in one.labels[:_SHOWN_LABELS])
        more = len(one.labels) - _SHOWN_LABELS
        rows.append([best + (f", {more} more" if more > 0 else ""), shortened(text, _SHOWN_TEXT)])
    shown = table(["LABELS", "TEXT"], rows)
    return f"{label} on {classification.device}: {counted}, {seconds_text(classification.seconds)}\n{shown}"
