"""`citadel plan …`: what a command would do now, and why; changes nothing."""

from __future__ import annotations

import asyncio
from argparse import Namespace

import msgspec

from citadel_tui.cli.engine import at_hand
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.requested import requested
from citadel_tui.words.labels import labels
from citadel_tui.words.plans import plan_text, refusal_text
from engine.core.plans import Plan


def run(arguments: Namespace) -> int:
    return asyncio.run(_preview(arguments))


async def _preview(arguments: Namespace) -> Exit:
    command = requested(arguments.verb, arguments)
    async with at_hand(arguments) as engine:
        planned = await engine.plan(command)
        label = labels((await engine.snapshot()).state)
    if arguments.json:
        print(msgspec.json.encode(planned).decode())
    elif isinstance(planned, Plan):
        print(plan_text(planned, label))
    else:
        print(refusal_text(planned, label))
    return Exit.DONE if isinstance(planned, Plan) else Exit.REFUSED
