"""Files that only grow, line by line, and never without bound: a full one is closed, a few closed ones are kept. They are
written in a task of its own, so that nothing that is recorded waits for a disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Generic, TypeVar

import aiofiles
from msgspec import Struct

from engine.core.serialization import Undecodable, from_sealed_json
from engine.whole_file import only_files

TAIL_BYTES: Final = 4 << 20
"""Longer than any line that is written here."""
LOOKED_BACK_BYTES: Final = 1 << 16


class NotWritten(Exception):
    """The file can't be written, and why."""

    def __init__(self, text: str, past: str, cause: str) -> None:
        super().__init__(text)
        self.past: Final = past
        """What there is to say once it is written again."""
        self.cause: Final = cause
        """The same for all files that the same keeps from being written."""

    @classmethod
    def of(cls, path: Path, error: OSError, doing: str = "written") -> NotWritten:
        why = error.strerror
        return cls(
            f"{path} can't be {doing}: {why}", f"{path} is {doing} again; it could not be: {why}", f"files: {why}"
        )

    def so_that(self, lost: str) -> NotWritten:
        """The same with what is lost by it, as in "switches are not recorded"."""
        return NotWritten(f"{self}; {lost}", self.past, self.cause)


class Bounds(Struct, frozen=True):
    """How much of a file is kept."""

    max_bytes: int
    """A file that has grown so large is closed, and the next one begun."""
    files: int
    """Closed files that are kept."""


class RotatedFile:
    """`name` in `folder`, with its closed predecessors `name.1`, `name.2`, … beside it, the oldest last."""

    def __init__(self, folder: Path, name: str, bounds: Bounds, heading: bytes = b"") -> None:
        self.path: Final = folder / name
        self._bounds: Final = bounds
        self._heading: Final = heading
        self._closed: Final = [folder / f"{name}.{number}" for number in range(1, bounds.files + 1)]
        self._may_be_torn = True

    async def append(self, lines: bytes) -> None:
        """Write whole lines. Raises NotWritten; a line of which only a part got onto the disk is taken off it again."""
        try:
            self._drop_torn_line()
            self._rotate_if_full()
            self._may_be_torn = True
            async with aiofiles.open(self.path, "ab", opener=only_files) as file:
                await file.write(lines if await file.tell() else self._heading + lines)
            self._may_be_torn = False
        except OSError as error:
            raise NotWritten.of(self.path, error) from error

    def _drop_torn_line(self) -> None:
        if not self._may_be_torn or not self.path.exists():
            return
        with open(self.path, "r+b", opener=only_files) as file:
            tail = _tail(file, TAIL_BYTES)
            torn_bytes = len(tail) - tail.rfind(b"\n") - 1
            if torn_bytes:
                file.truncate(os.fstat(file.fileno()).st_size - torn_bytes)

    def _rotate_if_full(self) -> None:
        if not self.path.exists() or self.path.stat().st_size < self._bounds.max_bytes:
            return
        for older, newer in zip(reversed(self._closed), [*reversed(self._closed[:-1]), self.path], strict=True):
            if newer.exists():
                newer.replace(older)


def kept_paths(folder: Path, name: str) -> list[Path]:
    """The files that a RotatedFile has left in `folder`, oldest first."""
    closed = {int(path.suffix[1:]): path for path in folder.glob(f"{name}.*") if path.suffix[1:].isdecimal()}
    current = folder / name
    return [closed[number] for number in sorted(closed, reverse=True)] + ([current] if current.exists() else [])


def whole_lines(path: Path) -> list[bytes]:
    """The lines of `path` that were written to their end. Raises OSError."""
    with open(path, "rb", opener=only_files) as file:
        return file.read().split(b"\n")[:-1]


_Value = TypeVar("_Value")


class SealedLines(Struct, Generic[_Value], frozen=True):
    """What was read of a file's lines."""

    values: tuple[_Value, ...]
    """Oldest first."""
    left_out: str = ""
    """What can't be read, and why, in words; empty where all can."""


def sealed_lines(folder: Path, name: str, kind: Any) -> SealedLines[Any]:  # noqa: ANN401 - a union has no type of its own
    """The lines of the files that a RotatedFile has left in `folder`, each of them a sealed `kind`. A line that is damaged costs
    that line, a file that can't be read that file; what was left out is counted."""
    values: list[Any] = []
    troubles: list[str] = []
    for path in kept_paths(folder, name):
        try:
            lines = whole_lines(path)
        except OSError as error:
            troubles.append(f"{path} can't be read: {error.strerror}")
            continue
        for number, line in enumerate(lines, 1):
            try:
                values.append(from_sealed_json(line, kind))
            except Undecodable as fault:
                troubles.append(f"line {number} of {path}: {fault}")
    return SealedLines(tuple(values), of_lines(folder / name, troubles))


def newest_sealed(folder: Path, name: str, kind: Any, most_bytes: int) -> Iterator[Any]:  # noqa: ANN401 - likewise
    """What the newest `most_bytes` of those files hold, oldest first, each line read when it is wanted; damaged ones are left
    out. Raises OSError."""
    for line in newest_lines(folder, name, most_bytes):
        with suppress(Undecodable):
            yield from_sealed_json(line, kind)


def newest_lines(folder: Path, name: str, most_bytes: int) -> list[bytes]:
    """Whole lines of the newest `most_bytes` that a RotatedFile has left in `folder`, oldest first. Raises OSError."""
    found: list[bytes] = []
    left_bytes = most_bytes
    for path in reversed(kept_paths(folder, name)):
        with open(path, "rb", opener=only_files) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            file.seek(max(size_bytes - left_bytes, 0))
            lines = file.read(left_bytes).split(b"\n")[:-1]
        found = [*(lines if size_bytes <= left_bytes else lines[1:]), *found]
        left_bytes -= size_bytes
        if left_bytes <= 0:
            break
    return found


def of_lines(path: Path, troubles: Sequence[str]) -> str:
    """What to say of lines that are left out, for a trouble each; nothing where there is none."""
    if not troubles:
        return ""
    many = "1 line" if len(troubles) == 1 else f"{len(troubles)} lines"
    return f"{many} of {path} can't be read and left out, all others are taken up. The first is {troubles[0]}"


def last_lines(path: Path) -> list[bytes]:
    """The last whole lines of `path`, as many as `LOOKED_BACK_BYTES` hold, without reading the rest. Raises OSError."""
    with open(path, "rb", opener=only_files) as file:
        return _tail(file, LOOKED_BACK_BYTES).split(b"\n")[:-1]


def _tail(file: BinaryIO, most_bytes: int) -> bytes:
    file.seek(max(0, os.fstat(file.fileno()).st_size - most_bytes))
    return file.read()


_Entry = TypeVar("_Entry")


class Writer(Generic[_Entry]):
    """Hands entries to `append` in order, all that wait at once: opening a file for each would cost a busy engine more than the
    request that it notes. What can't be written is lost; that is told once, and once more when writing works again."""

    def __init__(
        self,
        append: Callable[[*tuple[_Entry, ...]], Awaitable[None]],
        tell: Callable[[NotWritten], None],
        tell_over: Callable[[NotWritten], None],
    ) -> None:
        self._append = append
        self._tell = tell
        self._tell_over = tell_over
        self._unwritten: asyncio.Queue[_Entry] = asyncio.Queue()
        self._broken: NotWritten | None = None

    def put(self, entry: _Entry) -> None:
        """Have `entry` written soon."""
        self._unwritten.put_nowait(entry)

    async def run(self) -> None:
        """Write entries as they come, until cancelled."""
        while True:
            entries = [await self._unwritten.get()]
            entries += [self._unwritten.get_nowait() for _ in range(self._unwritten.qsize())]
            await self._write(entries)
            for _ in entries:
                self._unwritten.task_done()

    async def written(self) -> None:
        """Wait until `run`, which must be running, has written everything."""
        await self._unwritten.join()

    async def _write(self, entries: Sequence[_Entry]) -> None:
        try:
            await self._append(*entries)
        except NotWritten as trouble:
            if self._broken is None:
                self._broken = trouble
                self._tell(trouble)
        else:
            if self._broken is not None:
                over, self._broken = self._broken, None
                self._tell_over(over)
