"""`citadel rebalance|drain|pack|undo`: what the engine proposes, with gain and cost, and carrying it out when agreed."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from citadel_tui.cli.act import Teller, carried_out
from citadel_tui.cli.engine import at_hand, check_device
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import agreed
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.values import device, device_or_box
from citadel_tui.words.labels import labels
from citadel_tui.words.plans import proposal_text
from engine.api import Declined, Done
from engine.client import RemoteEngine
from engine.core.names import is_device_id, within_box
from engine.core.plans import Refusal
from engine.core.proposals import Drain, Pack, Proposal, Rebalance, Undo, Wish
from engine.core.serialization import to_json


class ProposeArguments(Arguments, frozen=True, kw_only=True):
    wish: Wish
    yes: bool
    """Whether the operator has agreed beforehand."""
    now: bool
    """Whether runs that are in the way are ended."""
    json: bool


def add_arguments(command: CommandParser) -> None:
    match command.name:
        case "rebalance":
            command.set_defaults(wish=Rebalance())
        case "drain":
            about = (
                "gpu0, gpu1, …; in a fleet box2/gpu0, or box2 for all that the box has, which then takes nothing new"
            )
            command.add_argument("wish", type=_drain, metavar="device", help=about)
        case "pack":
            about = "the one that is cheapest to free when left out"
            command.add_argument("wish", type=_pack, default=Pack(), metavar="device", nargs="?", help=about)
        case "undo":
            command.set_defaults(wish=Undo())
    command.add_argument("--apply", "--yes", "-y", dest="yes", action="store_true", help="do it without asking")
    command.add_argument("--now", action="store_true", help="end the requests that are in the way, don't wait for them")
    command.add_argument(
        "--json", action="store_true", help="the proposal as JSON, and nothing is done; with --yes the answer"
    )
    command.carried_out_by(run, ProposeArguments)


def _drain(text: str) -> Drain:
    return Drain(device_or_box(text))


def _pack(text: str) -> Pack:
    return Pack(device(text))


def run(arguments: ProposeArguments) -> int:
    return asyncio.run(_propose(arguments))


async def _propose(arguments: ProposeArguments) -> Exit:
    async with at_hand(arguments) as engine:
        if isinstance(arguments.wish, Drain) and not is_device_id(within_box(arguments.wish.device)):
            from citadel_tui.cli.drain_box import drain_box  # only now: it reads YAML

            box = arguments.wish.device
            return await drain_box(engine, box, yes=arguments.yes, now=arguments.now, json=arguments.json)
        if isinstance(arguments.wish, Drain | Pack):
            check_device(await engine.snapshot(), arguments.wish.device)
        proposed = await _proposed(engine, arguments)
        if arguments.json and not arguments.yes:
            print(to_json(proposed).decode())
            return Exit.REFUSED if isinstance(proposed, Refusal) else Exit.DONE
        teller = Teller(label=labels((await engine.snapshot()).state), agreed=arguments.yes, json=arguments.json)
        if isinstance(proposed, Refusal):
            return teller.answered(Declined(proposed))
        if not arguments.json:
            print(proposal_text(proposed, teller.label), flush=True)
        if not proposed.plan.steps:
            return teller.answered(Done(proposed.plan)) if arguments.json else Exit.DONE
        if not arguments.yes and not agreed():
            return Exit.NOT_CONFIRMED
        return await carried_out(engine, proposed.plan, teller, now=arguments.now)


async def _proposed(engine: RemoteEngine, arguments: ProposeArguments) -> Proposal | Refusal:
    """What is proposed, planned with the end of the runs in its way where that is wanted."""
    proposed = await engine.propose(arguments.wish)
    if isinstance(proposed, Refusal) or not (arguments.now and proposed.plan.steps):
        return proposed
    planned = await engine.plan(proposed.command, now=True)
    return planned if isinstance(planned, Refusal) else replace(proposed, plan=planned)
