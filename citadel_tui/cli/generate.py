"""`citadel generate`: what a model writes after a prompt, to stdout; about the run, to stderr."""

from __future__ import annotations

import asyncio

from citadel_tui.cli.engine import at_hand
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.values import count
from citadel_tui.text import clean_lines
from citadel_tui.words.figures import seconds_text
from citadel_tui.words.labels import model_label
from engine.core.names import ModelName


class GenerateArguments(Arguments, frozen=True, kw_only=True):
    model: ModelName
    prompt: str
    max_tokens: int


def add_arguments(command: CommandParser) -> None:
    command.add_argument("model")
    command.add_argument("prompt")
    command.add_argument("--max-tokens", type=count, default=32, metavar="N")
    command.carried_out_by(run, GenerateArguments)


def run(arguments: GenerateArguments) -> int:
    return asyncio.run(_generate(arguments))


async def _generate(arguments: GenerateArguments) -> Exit:
    async with at_hand(arguments) as engine:
        with progress() as show:
            show(f"{arguments.model} writes up to {arguments.max_tokens} tokens")
            written = await engine.generate(arguments.model, arguments.prompt, arguments.max_tokens)
    print(clean_lines(written.text))
    label = model_label(written.model, synthetic=written.synthetic)
    tell(f"{label} on {written.device}: {written.tokens} tokens in {seconds_text(written.seconds)}")
    return Exit.DONE
