"""The file of a recorded session: gzipped JSON lines, the first about the engine, then an event with its time in each."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.api import EngineAPI, EngineError, Event, Hello, Updated
from engine.core.records import Record
from engine.core.serialization import Undecodable, from_json, to_json

FORMAT: Final = 1
PAST_RECORDS: Final = 100


class SessionHead(Struct, frozen=True):
    """What a session begins with."""

    citadel_session: int
    hello: Hello
    at_s: float
    """When the recording began, seconds since the epoch."""
    records: tuple[Record, ...]
    """What the engine had recorded before."""


class SessionLine(Struct, frozen=True):
    """An event, and when it came."""

    at_s: float
    event: Event


class Session(Struct, frozen=True):
    """A recorded session; its lines stay encoded until they are wanted."""

    head: SessionHead
    times_s: tuple[float, ...]
    lines: tuple[bytes, ...]
    record_lines: tuple[int, ...]
    """Numbers of the lines that are records; the others are snapshots."""
    torn: bool
    """Whether the file ends within a line, as when the recording was killed."""

    def event(self, number: int) -> Event:
        """Raises EngineError for one that is damaged."""
        try:
            return from_json(self.lines[number], SessionLine).event
        except Undecodable as error:
            raise EngineError(f"event {number + 1} of the recorded session is damaged: {error}") from None


async def record(
    engine: EngineAPI, path: Path, interval_s: float, now: Callable[[], float], on_line: Callable[[int], None]
) -> None:
    """Write what `engine` shows to `path` until cancelled or the engine ends, snapshots at most every `interval_s`.

    Raises EngineError when the file can't be written. Each line is whole on disk as soon as it is written.
    """
    past = await engine.records(PAST_RECORDS)
    head = SessionHead(FORMAT, await engine.hello(), now(), past)
    shown_s, written = float("-inf"), 0
    try:
        with gzip.open(path, "wb", compresslevel=6) as file:
            _write(file, to_json(head))
            async for event in engine.events(past[-1].seq if past else 0):
                if isinstance(event, Updated):
                    if now() - shown_s < interval_s:
                        continue
                    shown_s = now()
                _write(file, to_json(SessionLine(now(), event)))
                written += 1
                on_line(written)
    except OSError as error:
        raise EngineError(f"{path} can't be written: {error.strerror}; the session is not recorded") from None


def _write(file: gzip.GzipFile, line: bytes) -> None:
    file.write(line + b"\n")
    file.flush(zlib.Z_SYNC_FLUSH)


async def read_session(path: Path) -> Session:
    """The session in `path`. Raises EngineError when there is none; a torn end costs the last line only."""
    return await asyncio.to_thread(_read, path)


def _read(path: Path) -> Session:
    lines, torn = _lines(path)
    try:
        head = from_json(lines[0], SessionHead)
        glances = [from_json(line, _Glance) for line in lines[1:]]
    except (IndexError, Undecodable) as error:
        raise EngineError(f"{path} is not a recorded session: {error}; `citadel record FILE` makes one") from None
    if head.citadel_session != FORMAT:
        raise EngineError(f"{path} has the session format {head.citadel_session}; this citadel reads {FORMAT}")
    if not glances:
        raise EngineError(f"{path} has no events: the recording ended as soon as it had begun")
    records = tuple(number for number, glance in enumerate(glances) if glance.event.type == "recorded")
    return Session(head, tuple(glance.at_s for glance in glances), tuple(lines[1:]), records, torn)


class _Kind(Struct, frozen=True):
    type: str


class _Glance(Struct, frozen=True):
    """As much of a line as is read before it is wanted."""

    at_s: float
    event: _Kind


def _lines(path: Path) -> tuple[list[bytes], bool]:
    lines: list[bytes] = []
    try:
        with gzip.open(path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return lines, True
                lines.append(line)
    except EOFError:
        return lines, True
    except (OSError, zlib.error) as error:
        raise EngineError(f"{path} can't be read: {error}; it must be a file that `citadel record` wrote") from None
    return lines, False
