"""`citadel log`: the newest records, and with `--follow` those that come."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from citadel_tui.cli.engine import attached
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.values import count
from citadel_tui.words.labels import Label, labels
from citadel_tui.words.records import record_text
from engine.api import Recorded
from engine.core.records import Record, Residency
from engine.core.serialization import to_json

_PER_SHOWN: Final = 4
"""Records that are asked for so that enough are left when the engine's notes to itself are taken out."""


class LogArguments(Arguments, frozen=True, kw_only=True):
    limit: int
    follow: bool
    json: bool


def add_arguments(command: CommandParser) -> None:
    command.add_argument("-n", type=count, default=20, dest="limit", metavar="N", help="how many (20)")
    command.add_argument("--follow", "-f", action="store_true", help="go on with what comes")
    command.add_argument("--json", action="store_true", help="one JSON record a line")
    command.carried_out_by(run, LogArguments)


def run(arguments: LogArguments) -> int:
    return asyncio.run(_log(arguments))


async def _log(arguments: LogArguments) -> Exit:
    async with attached(arguments) as engine:
        label = labels((await engine.snapshot()).state)
        records = await engine.records(arguments.limit if arguments.json else _PER_SHOWN * arguments.limit)
        for record in [record for record in records if _is_news(record, arguments)][-arguments.limit :]:
            _show(record, label, arguments)
        if not arguments.follow:
            return Exit.DONE
        async with contextlib.aclosing(engine.events(records[-1].seq if records else 0)) as events:
            async for event in events:
                if isinstance(event, Recorded) and _is_news(event.record, arguments):
                    _show(event.record, label, arguments)
    return Exit.DONE


def _is_news(record: Record, arguments: LogArguments) -> bool:
    """Programs get every record; people are spared the engine's notes to itself, which repeat what the switches say."""
    return arguments.json or not isinstance(record.entry, Residency)


def _show(record: Record, label: Label, arguments: LogArguments) -> None:
    print(to_json(record).decode() if arguments.json else record_text(record, label), flush=True)
