"""`citadel status`: devices and models as a table for people, or as JSON or CSV for programs; once or again and again."""

from __future__ import annotations

import asyncio
import io
import sys
from argparse import Namespace
from typing import Final

import msgspec

from citadel_tui.cli.csv_rows import write_device_rows, write_model_rows
from citadel_tui.cli.exits import Exit
from citadel_tui.cli.status_report import VERSION, Report, Unavailable, report
from citadel_tui.cli.engine import attached
from citadel_tui.cli.status_table import status_table
from citadel_tui.cli.output import can_draw
from engine.api import EngineAPI, EngineUnreachable

_REDRAW: Final = "\x1b[H\x1b[J"


def run(arguments: Namespace) -> int:
    return asyncio.run(_status(arguments))


async def _status(arguments: Namespace) -> Exit:
    try:
        async with attached(arguments) as engine:
            print(_rendered(await _report(engine), arguments), flush=True)
            while arguments.watch is not None:
                await asyncio.sleep(arguments.watch)
                shown = _rendered(await _report(engine), arguments)
                print(f"{_REDRAW if sys.stdout.isatty() else ''}{shown}", flush=True)
    except EngineUnreachable as error:
        if arguments.form != "json":
            raise
        print(msgspec.json.encode(Unavailable(VERSION, str(error))).decode())
        return Exit.NO_ENGINE
    return Exit.DONE


async def _report(engine: EngineAPI) -> Report:
    return report(await engine.hello(), await engine.snapshot())


def _rendered(shown: Report, arguments: Namespace) -> str:
    if arguments.form == "json":
        return msgspec.json.encode(shown).decode()
    if arguments.csv is not None:
        return _csv(shown, arguments.csv)
    return status_table(shown, bars=arguments.form != "plain" and sys.stdout.isatty() and can_draw(sys.stdout))


def _csv(shown: Report, subject: str) -> str:
    text = io.StringIO()
    if subject == "devices":
        write_device_rows(text, shown.at_s, shown.devices)
    else:
        write_model_rows(text, shown.models)
    return text.getvalue().rstrip()
