"""`citadel report`: the results document, written from what the engine has recorded. Needs no engine, and starts none."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from citadel_tui.cli.engine import our_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.texts.report import TITLE, document
from engine.api import EngineError
from engine.results.criteria import criteria
from engine.results.recorded import NothingRecorded, ReportRecords, gather_records
from engine.whole_file import FOR_ALL, write_whole

_FILE: Final = Path("GPU_Memory_Allocation_Strategy_Results.md")
_HEADING: Final = f"{TITLE}\n"


class ReportArguments(Arguments, frozen=True, kw_only=True):
    output: Path


def add_arguments(command: CommandParser) -> None:
    command.add_argument("--output", type=Path, default=_FILE, metavar="FILE", help=f"instead of {_FILE}")
    command.carried_out_by(run, ReportArguments)


def run(arguments: ReportArguments) -> int:
    recorded = _gathered()
    _write(arguments.output, document(recorded, time.time()))
    for trouble in recorded.troubles:
        tell(f"left out: {trouble}")
    for criterion in criteria(recorded):
        wanting = f"; wanting: {criterion.wanting}" if criterion.wanting else ""
        print(f"{criterion.verdict}  {criterion.name}: {criterion.figure}{wanting}")
    tell(f"written to {arguments.output}")
    return Exit.DONE


def _gathered() -> ReportRecords:
    """Raises EngineError."""
    paths = our_paths()
    try:
        return gather_records(paths.journal, paths.memory, paths.demand)
    except NothingRecorded as nothing:
        raise EngineError(f"{nothing}; nothing was written") from None
    except OSError as error:
        raise EngineError(f"{error.filename} can't be read: {error.strerror}; nothing was written") from None


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and never over a file that is something else. Raises EngineError."""
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")  # a device or a pipe: there is nothing to replace
            return
        if path.exists() and not path.read_bytes().startswith(_HEADING.encode()):
            raise EngineError(f"{path} is there and is no report; it was left alone. Name another file with --output")
        write_whole(path, text.encode(), FOR_ALL)
    except OSError as error:
        raise EngineError(f"{path} can't be written: {error.strerror}") from None
