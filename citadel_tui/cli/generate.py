"""`citadel generate`: what a model writes after a prompt, to stdout; about the run, to stderr."""

from __future__ import annotations

import asyncio
from argparse import Namespace

from citadel_tui.cli.engine import at_hand
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress, tell
from citadel_tui.text import clean_lines
from citadel_tui.words.figures import seconds_text
from citadel_tui.words.labels import model_label


def run(arguments: Namespace) -> int:
    return asyncio.run(_generate(arguments))


async def _generate(arguments: Namespace) -> Exit:
    async with at_hand(arguments) as engine:
        with progress() as show:
            show(f"{arguments.model} writes up to {arguments.max_tokens} tokens")
            written = await engine.generate(arguments.model, arguments.prompt, arguments.max_tokens)
    print(clean_lines(written.text))
    label = model_label(written.model, synthetic=written.synthetic)
    tell(f"{label} on {written.device}: {written.tokens} tokens in {seconds_text(written.seconds)}")
    return Exit.DONE
