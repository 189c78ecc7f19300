"""A benchmark's files: written so that nothing measured is lost, read only in the format that this program writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from citadel_tui.bench.request_text import requests_markdown
from citadel_tui.dated_files import dated_path
from engine.api import EngineError
from engine.bench.records import BENCH_VERSION, BenchResult, write_csv
from engine.bench.request_records import REQUESTS, REQUESTS_VERSION, RequestsResult, write_requests_csv
from engine.core.serialization import Undecodable, from_json, to_readable_json
from engine.whole_file import read_whole

_Run = TypeVar("_Run")
_MOST_BYTES: Final = 256 << 20


def check_writable(path: Path | None) -> None:
    """Found out before the minutes of measuring. Raises EngineError."""
    if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        raise EngineError(f"{path} can't be written; nothing was measured")


def save_run(found: BenchResult, output: Path | None, table: Path | None) -> None:
    """Raises EngineError."""
    if output is not None:
        with _told_of_failure(output):
            output.write_bytes(to_readable_json(found))
    if table is not None:
        with _told_of_failure(table), table.open("w", encoding="utf-8", newline="") as file:
            write_csv(file, found)


@contextmanager
def _told_of_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineError(f"{path} can't be written: {error.strerror}; the figures are shown and not saved") from None


def saved_run(path: Path) -> BenchResult:
    """Raises EngineError."""
    found = _read(path, BenchResult, "`citadel bench --output`")
    _check_version(path, found.format_version, BENCH_VERSION)
    return found


def _read(path: Path, kind: type[_Run], by: str) -> _Run:
    try:
        return from_json(read_whole(path, _MOST_BYTES), kind)
    except OSError as error:
        raise EngineError(f"{path} can't be read: {error.strerror}") from None
    except Undecodable as error:
        raise EngineError(f"{path} is not a file that {by} wrote: {error}") from None


def _check_version(path: Path, found: int, read: int) -> None:
    if found != read:
        raise EngineError(f"{path} has format {found}; this program reads {read}")


def save_requests(found: RequestsResult, output: Path | None, table: Path | None, document: Path | None) -> None:
    """As JSON, CSV and markdown, whichever has a path. Raises EngineError."""
    if output is not None:
        with _told_of_failure(output):
            output.write_bytes(to_readable_json(found))
    if table is not None:
        with _told_of_failure(table), table.open("w", encoding="utf-8", newline="") as file:
            write_requests_csv(file, found.series)
    if document is not None:
        with _told_of_failure(document):
            document.write_text(requests_markdown(found), encoding="utf-8")


def saved_requests(path: Path) -> RequestsResult:
    """Raises EngineError."""
    found = _read(path, RequestsResult, "`citadel bench --requests --output` or `citadel drive --output`")
    _check_version(path, found.format_version, REQUESTS_VERSION)
    return found


class _AnyRun(Struct):
    kind: str = ""


def is_of_requests(path: Path) -> bool:
    """Whether a saved run is one of requests, and not of switches. Raises EngineError."""
    return _read(path, _AnyRun, "`citadel bench --output`").kind == REQUESTS


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
