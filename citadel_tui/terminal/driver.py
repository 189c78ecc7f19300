"""The terminal, as Textual drives it, but for three things: a line that drops must not keep the console from ending, a slow one
carries only what the terminal doesn't show yet, and while nothing is typed nobody wakes to see whether something is.

Textual writes from a thread of its own, behind a queue of thirty. An error ends that thread; the queue fills, and the app waits
for room in it forever. And Textual writes a changed row again from its widget's left edge, each piece with all its colours.
"""

from __future__ import annotations

import os
from io import TextIOWrapper
from typing import IO, TYPE_CHECKING, Final, cast

from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

from citadel_tui.terminal.frames import frame_of
from citadel_tui.terminal.shown import Shown
from citadel_tui.terminal.typed import read_typed

if TYPE_CHECKING:
    from textual.app import App

_HOLD: Final = "\x1b[?2026h"
"""Has a terminal that can do so show what follows only once all of it is there."""
_SHOW: Final = "\x1b[?2026l"


class TerminalLine:
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
        # The descriptor keeps its number and leads elsewhere: Textual and Python's own buffer go on writing to it, and neither
        # may see an error. Closing it would free the number for whatever is opened next, a socket to the engine perhaps.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._file.fileno())
        os.close(nowhere)
        return count


class TerminalDriver(LinuxDriver):
    """Writes over a `Line`, and of each frame only the cells that the terminal doesn't show."""

    def __init__(
        self, app: App[object], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        assert self._file is not None, "a terminal is there"
        self._file = cast(TextIOWrapper, TerminalLine(self._file))
        self._shown = Shown()
        self._end_seen, self._end_told = os.pipe()
        """Holds a byte while no more is to be read."""
        self._held = ""

    def write(self, data: str) -> None:
        """Write a frame as far as it is new, anything else as it is."""
        if data == _HOLD:
            # Kept until there is something to show: a frame that turns out to be on the screen already must cost nothing, not
            # even the marks around it.
            self._held = data
        elif data == _SHOW:
            self._write_end_of_hold()
        elif (frame := frame_of(data)) is None:
            # It may have changed the screen; entering it, as after ctrl+z and fg, does.
            self._shown.forget()
            super().write(data)
        else:
            self._shown.fit(*self._app.size)
            if new := self._shown.turn_to(frame):
                super().write(f"{self._held}{new}")
                self._held = ""

    def run_input_thread(self) -> None:
        read_typed(self.fileno, self._end_seen, XTermParser(self._debug), self.process_message)

    def disable_input(self) -> None:
        os.write(self._end_told, b"\0")
        super().disable_input()  # waits for the thread
        os.read(self._end_seen, 1)

    def _sigcont_application(self, *_: object) -> None:
        """Take the terminal back after ctrl+z, and only then.

        A line that drops sends this signal, too, right behind the one that ends the console. Textual would take the terminal
        anew each time: with a second thread that reads keys and another that writes, in the middle of whatever ran just then.
        """
        if self._must_signal_resume:
            super()._sigcont_application()

    def forget(self) -> None:
        """Write the next frame in full: the terminal may show something else than was written."""
        self._shown.forget()

    def _write_end_of_hold(self) -> None:
        """Unless nothing was written since it began."""
        if not self._held:
            super().write(_SHOW)
        self._held = ""
