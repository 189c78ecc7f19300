"""`citadel doctor`: what stands between a model and a GPU here, and what to do about it. Needs no engine, and starts none."""

from __future__ import annotations

import asyncio
import os
import re
import textwrap
from pathlib import Path
from typing import Final

from citadel_tui.cli.engine import our_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.text import clean
from engine.core.serialization import to_json
from engine.doctor.examine import Examination, examine
from engine.doctor.finding import Finding, Status

_MARKS: Final[dict[Status, str]] = {"ok": "ok", "warning": "warning", "problem": "PROBLEM", "not applicable": "-"}
_COLUMN: Final = 10
_WIDTH: Final = 100
_COMMAND: Final = re.compile(r"`[^`]*`")
_UNBROKEN: Final = "\xa0"


class DoctorArguments(Arguments, frozen=True, kw_only=True):
    json: bool


def add_arguments(command: CommandParser) -> None:
    command.add_argument("--json", action="store_true", help="all findings as JSON")
    command.carried_out_by(run, DoctorArguments)


def run(arguments: DoctorArguments) -> int:
    examination = asyncio.run(_examine(arguments))
    if arguments.json:
        print(to_json(examination).decode())
    else:
        print(_text(examination))
    return Exit.DONE if examination.is_well else Exit.FAILED


async def _examine(arguments: DoctorArguments) -> Examination:
    from engine.doctor.gather import gather_facts

    with progress() as show:
        show("asking the driver, torch and the disk …")
        return examine(await gather_facts(arguments.config, os.environ, Path.cwd(), our_paths()))


def _text(examination: Examination) -> str:
    parts = [_finding(finding) for finding in examination.findings]
    return "\n".join([*parts, "", f"{clean(examination.answer[:1]).upper()}{clean(examination.answer[1:])}."])


def _finding(finding: Finding) -> str:
    """The mark, then what was found, what it means and what to do."""
    lines = [f"{finding.id}: {finding.found}", finding.means, f"→ {finding.fix}" if finding.fix else ""]
    indent = " " * _COLUMN
    wrapped = [_filled(clean(line), indent) for text in lines for line in text.split("\n") if line]
    return _MARKS[finding.status].ljust(_COLUMN) + "\n".join(wrapped).removeprefix(indent)


def _filled(text: str, indent: str) -> str:
    """Wrapped between words, but never within a command: one that is copied in two parts is no command."""
    whole = _COMMAND.sub(lambda command: command[0].replace(" ", _UNBROKEN), text)
    filled = textwrap.fill(
        whole, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return filled.replace(_UNBROKEN, " ")
