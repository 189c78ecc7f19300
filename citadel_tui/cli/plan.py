"""`citadel plan …`: what a command would do now, and why; changes nothing."""

from __future__ import annotations

import asyncio

from citadel_tui.cli.act import VERB_ARGUMENTS, VerbArguments, add_verb, device_of
from citadel_tui.cli.engine import at_hand, check_device
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.parser import COMMANDS, CommandParser, add_command
from citadel_tui.words.labels import labels
from citadel_tui.words.plans import plan_text, refusal_text
from engine.core.plans import Plan
from engine.core.serialization import to_json


def add_arguments(command: CommandParser) -> None:
    verbs = command.add_subparsers(title="commands", metavar="COMMAND", dest="verb", required=True)
    for name in VERB_ARGUMENTS:
        add_command(verbs, name, COMMANDS[name], _add_verb)


def _add_verb(command: CommandParser) -> None:
    verb = add_verb(command)
    command.add_argument("--json", action="store_true", help="the plan or refusal as JSON")
    command.carried_out_by(run, verb)


def run(arguments: VerbArguments) -> int:
    return asyncio.run(_preview(arguments))


async def _preview(arguments: VerbArguments) -> Exit:
    async with at_hand(arguments) as engine:
        command, snapshot = arguments.command(), await engine.snapshot()
        check_device(snapshot, device_of(command))
        planned = await engine.plan(command, now=arguments.now)
    label = labels(snapshot.state)
    if arguments.json:
        print(to_json(planned).decode())
    elif isinstance(planned, Plan):
        print(plan_text(planned, label))
    else:
        print(refusal_text(planned, label))
    return Exit.DONE if isinstance(planned, Plan) else Exit.REFUSED
