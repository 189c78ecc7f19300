"""The engine's own demand, as a trace that a replay reads.

Seconds go on counting from file to file and over restarts, so that the files put one after the other are one trace. They
count from the first request of all; when that was follows from the newest file's own time of last change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.core.names import ModelName
from engine.recording.files import Bounds, NotWritten, RotatedFile, kept_paths, last_lines, of_lines, whole_lines
from engine.recording.trace import HEADING, TraceError, TraceRequest, salvaged

DEMAND_FILE: Final = "demand.csv"


class Asked(Struct, frozen=True):
    """A request as it came."""

    at_s: float
    """Seconds since the epoch."""
    steady_s: float
    """On a clock that nobody sets."""
    model: ModelName
    work: int
    """Texts to embed, or tokens to write at most."""


class OwnDemand(Struct, frozen=True):
    """What was asked of the engine, as far as it is kept."""

    began_s: float
    """Second 0 of the requests, in seconds since the epoch."""
    requests: tuple[TraceRequest, ...]
    left_out: str = ""
    """What can't be read, and why, in words; empty where all can."""


class DemandLog:
    """Appends requests to the files in `folder`."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self._folder = folder
        self._file = RotatedFile(folder, DEMAND_FILE, bounds, f"{HEADING}\n".encode())
        self._began_steady_s: float | None = None

    async def append(self, *requests: Asked) -> None:
        """Write a line each. Raises NotWritten, saying what is not kept because of it."""
        try:
            began_s, lines = self._began(requests[0]), list[str]()
            for asked in requests:
                t_s = asked.steady_s - began_s
                lines.append(f"{t_s:.3f},{asked.model},{asked.work}\n")
            await self._file.append("".join(lines).encode())
        except NotWritten as trouble:
            raise trouble.so_that("requests are not recorded") from trouble

    def _began(self, first: Asked) -> float:
        """When the trace began, on the steady clock: with the first request, or as long before it as its last line says and the
        time since that was written. Raises NotWritten."""
        if self._began_steady_s is None:
            try:
                last_s, changed_s = _last_request(self._folder) or (0.0, first.at_s)
            except OSError as error:
                raise NotWritten.of(error.filename, error, "read") from error
            # The file says only seconds since the trace began; its time of last change is the one clock time that is kept of it,
            # and may be of a clock that was ahead. While the engine runs, no clock that is set has a say.
            self._began_steady_s = first.steady_s - max(0.0, first.at_s - changed_s) - last_s
        return self._began_steady_s


def own_demand(folder: Path) -> OwnDemand:
    """The requests that the files in `folder` hold. Raises TraceError, also when there is none, and OSError."""
    paths = kept_paths(folder, DEMAND_FILE)
    if not paths:
        raise TraceError(f"{folder} holds no recorded demand; it grows with every request that the engine gets")
    requests, faults = salvaged(_text(line) for path in paths for line in whole_lines(path))
    left_out = of_lines(folder / DEMAND_FILE, faults)
    if not requests:
        raise TraceError(left_out or f"{paths[-1]} has a heading and no requests")
    return OwnDemand(paths[-1].stat().st_mtime - requests[-1].at_s, requests, left_out)


def _text(line: bytes) -> str:
    return line.decode(errors="replace")


def _last_request(folder: Path) -> tuple[float, float] | None:
    """The second of the newest request that can be read, and when its file was last changed; None without one."""
    for path in reversed(kept_paths(folder, DEMAND_FILE)):
        requests, _faults = salvaged(map(_text, last_lines(path)))
        if requests:
            return requests[-1].at_s, path.stat().st_mtime
    return None
