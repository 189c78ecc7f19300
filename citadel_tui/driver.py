"""The terminal, as Textual drives it, but for one thing: a line that drops must not keep the console from ending.

Textual writes from a thread of its own, behind a queue of thirty. An error ends that thread; the queue fills, and the app waits
for room in it forever.
"""

from __future__ import annotations

import os
from io import TextIOWrapper
from typing import IO, TYPE_CHECKING, cast

from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from textual.app import App


class Line:
    """The line to the terminal. Once it has dropped, whatever is written goes nowhere."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except OSError:
            return self._drop(len(text))

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError:
            self._drop(0)

    def fileno(self) -> int:
        return self._file.fileno()

    def _drop(self, count: int) -> int:
        """What the file still holds must go somewhere too: Python writes it at its end, and would complain then."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._file.fileno())
        os.close(nowhere)
        return count


class TerminalDriver(LinuxDriver):
    """Writes over a `Line`."""

    def __init__(
        self, app: App[object], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        assert self._file is not None, "a terminal is there"
        self._file = cast(TextIOWrapper, Line(self._file))
