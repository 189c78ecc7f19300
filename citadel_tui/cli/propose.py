"""`citadel rebalance|drain|pack|undo`: what the engine proposes, with gain and cost, and carrying it out when agreed."""

from __future__ import annotations

import asyncio
from argparse import Namespace

import msgspec

from citadel_tui.cli.act import carried_out, refused
from citadel_tui.cli.engine import at_hand
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import agreed
from citadel_tui.words.labels import labels
from citadel_tui.words.plans import proposal_text
from engine.core.plans import Refusal
from engine.core.proposals import Drain, Pack, Rebalance, Undo, Wish


def run(arguments: Namespace) -> int:
    return asyncio.run(_propose(arguments))


def _wish(arguments: Namespace) -> Wish:
    match arguments.command:
        case "rebalance":
            return Rebalance()
        case "drain":
            return Drain(arguments.device)
        case "pack":
            return Pack(arguments.device)
        case "undo":
            return Undo()
        case _:
            raise ValueError(f"the parser has a wish that nobody grants: {arguments.command}")


async def _propose(arguments: Namespace) -> Exit:
    async with at_hand(arguments) as engine:
        proposed = await engine.propose(_wish(arguments))
        label = labels((await engine.snapshot()).state)
        if arguments.json:
            print(msgspec.json.encode(proposed).decode())
            return Exit.REFUSED if isinstance(proposed, Refusal) else Exit.DONE
        if isinstance(proposed, Refusal):
            return refused(proposed, label)
        print(proposal_text(proposed, label), flush=True)
        if not proposed.plan.steps:
            return Exit.DONE
        if not arguments.yes and not agreed():
            return Exit.NOT_CONFIRMED
        return await carried_out(engine, proposed.command, proposed.plan, label, arguments)
