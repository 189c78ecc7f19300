"""A benchmark's files: written so that nothing measured is lost, read only in the format that this program writes."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from citadel_tui.dated_files import dated_path
from citadel_tui.text import clean
from engine.api import EngineError
from engine.bench.records import BENCH_VERSION, BenchResult, write_csv


def check_writable(path: Path | None) -> None:
    """Found out before the minutes of measuring. Raises EngineError."""
    if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        raise EngineError(f"{path} can't be written; nothing was measured")


def save_run(found: BenchResult, output: Path | None, table: Path | None) -> None:
    """Raises EngineError."""
    try:
        if output is not None:
            output.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
        if table is not None:
            with table.open("w", encoding="utf-8", newline="") as file:
                write_csv(file, found)
    except OSError as error:
        raise EngineError(
            f"{error.filename} can't be written: {error.strerror}; the figures are shown and not saved"
        ) from None


def saved_run(path: Path) -> BenchResult:
    """Raises EngineError."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=BenchResult)
    except OSError as error:
        raise EngineError(f"{path} can't be read: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise EngineError(f"{path} is not a file that `citadel bench --output` wrote: {clean(str(error))}") from None
    if found.format_version != BENCH_VERSION:
        raise EngineError(f"{path} has format {found.format_version}; this program reads {BENCH_VERSION}")
    return found


def keep_run(found: BenchResult, folder: Path) -> Path:
    """Save the run under its date in `folder`; where. Raises EngineError."""
    try:
        path = dated_path(folder, found.at_s, ".json")
    except OSError as error:
        raise EngineError(f"{folder} can't be made: {error.strerror}; the figures are shown and not saved") from None
    save_run(found, path, None)
    return path


def kept_runs(folder: Path) -> list[Path]:
    """The runs that were kept in `folder`, newest first."""
    return sorted(folder.glob("*.json"), key=lambda path: path.stem, reverse=True)
