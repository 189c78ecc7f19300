"""`citadel requests [cancel N]`: the requests under way, with who asks, and the end of one of them."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from citadel_tui.cli.engine import attached
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.fitting import TableColumn, joined, size_of, table_block, text_block
from citadel_tui.cli.output import tell
from citadel_tui.cli.parser import Arguments, CommandParser, add_command
from citadel_tui.cli.values import count
from citadel_tui.words.figures import age_text
from citadel_tui.words.labels import Label, labels
from citadel_tui.words.requests import request_text, so_far_text, under_way_text, where_text
from engine.core.insight.request_figures import RequestsUnderWay, RequestUnderWay
from engine.core.serialization import to_json

REQUESTS_VERSION: Final = 1
_COLUMNS: Final = (
    TableColumn("NUMBER", right=True),
    TableColumn("WHO", is_name=True),
    TableColumn("MODEL", is_name=True),
    TableColumn("WHERE"),
    TableColumn("AGE", 2, right=True),
    TableColumn("SO FAR", 1),
)


class RequestsReport(Struct, frozen=True):
    """What `--json` prints."""

    version: int
    count: int
    """All that are under way; the oldest of them are listed."""
    requests: tuple[RequestUnderWay, ...]


class ListArguments(Arguments, frozen=True, kw_only=True):
    json: bool = False


class CancelArguments(Arguments, frozen=True, kw_only=True):
    number: int


def add_arguments(command: CommandParser) -> None:
    command.add_argument("--json", action="store_true", help="all of it, for programs")
    actions = command.add_subparsers(title="commands", metavar="COMMAND", dest="action")
    add_command(actions, "cancel", "give one up, wherever it is; whoever waits for it is told", _add_cancel)
    command.carried_out_by(_list, ListArguments)  # without a further word


def _add_cancel(command: CommandParser) -> None:
    command.add_argument("number", type=count, metavar="NUMBER", help="as `citadel requests` lists it")
    command.carried_out_by(_cancel, CancelArguments)


def _list(arguments: ListArguments) -> int:
    return asyncio.run(_show(arguments))


async def _show(arguments: ListArguments) -> Exit:
    async with attached(arguments) as engine:
        listed = await engine.requests()
        if arguments.json:
            report = RequestsReport(REQUESTS_VERSION, listed.count, listed.requests)
            print(to_json(report).decode())
        else:
            print(_text(listed, labels((await engine.snapshot()).state)))
    return Exit.DONE


def _text(listed: RequestsUnderWay, label: Label) -> str:
    size = size_of(sys.stdout)
    parts = [text_block(under_way_text(listed), size)]
    if listed.requests:
        rows = [_cells(request, label) for request in listed.requests]
        parts.insert(0, table_block(_COLUMNS, rows, size, "requests"))
    return joined(parts, replace(size, height=None))


def _cells(request: RequestUnderWay, label: Label) -> list[str]:
    who, model = request.asker.text, label(request.model)
    return [str(request.number), who, model, where_text(request), age_text(request.age_s), so_far_text(request)]


def _cancel(arguments: CancelArguments) -> int:
    return asyncio.run(_give_up(arguments))


async def _give_up(arguments: CancelArguments) -> Exit:
    async with attached(arguments) as engine:
        label = labels((await engine.snapshot()).state)
        was = await engine.cancel_request(arguments.number)
    tell(f"cancelled: {request_text(was, label)}; whoever waits for it is told")
    return Exit.DONE
