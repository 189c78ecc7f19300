"""Takes pictures of the real program as terminals of each kind show it: `citadel` in tmux, with another TERM each time.

`python -m screenshots.terminals` writes into `terminals/` beside this file: SVG and PNG of what tmux holds, and as text what a
terminal gets that can't show the console. Without tmux it only says so. Colours are the sixteen of a terminal, as this file
paints them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Final

from msgspec import Struct
from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME, TerminalTheme
from rich.text import Text

from engine.client import connect
from screenshots.camera import SMALL
from screenshots.pictures import FOLDER, save
from screenshots.stage import PATIENCE_S, own_engine, work

CITADEL: Final = f"{sys.executable} -m citadel_tui"
LIGHT: Final = TerminalTheme(
    (255, 255, 255),
    (36, 41, 47),
    [(36, 41, 47), (207, 34, 46), (17, 99, 41), (122, 78, 0), (9, 105, 218), (130, 80, 223), (27, 124, 131), (110, 119, 129)],
    [(87, 96, 106), (164, 14, 38), (26, 127, 55), (99, 60, 1), (33, 139, 255), (164, 117, 249), (49, 146, 170), (140, 149, 159)],
)  # fmt: skip
"""A white one, as many editors paint it."""


class Kind(Struct, frozen=True):
    """A kind of terminal: what it tells programs of itself, and how it paints."""

    name: str
    environment: Mapping[str, str]
    paint: TerminalTheme


KINDS: Final = (
    Kind("screen-256color", {"TERM": "screen-256color"}, SVG_EXPORT_THEME),
    Kind("linux", {"TERM": "linux"}, SVG_EXPORT_THEME),
    Kind("light-16-colours", {"TERM": "xterm-16color"}, LIGHT),
)


class Pane:
    """A terminal of 80×24 in a tmux server of its own."""

    def __init__(self, socket: Path) -> None:
        self._tmux: Final = ("tmux", "-u", "-S", str(socket), "-f", os.devnull)

    def start(self, environment: Mapping[str, str]) -> None:
        """The console in it, which finds the engine by $CITADEL_HOME."""
        told = [f"{name}={value}" for name, value in environment.items()]
        columns, rows = map(str, SMALL)
        plain = ("env", "-u", "COLORTERM", "-u", "NO_COLOR", "-u", "TMUX", "-u", "TERM_PROGRAM", *told)
        self._run("new-session", "-d", "-x", columns, "-y", rows, " ".join((*plain, CITADEL)))

    def press(self, *keys: str) -> None:
        self._run("send-keys", *keys)

    def seen(self, text: str) -> str:
        """What is there once `text` is, with its colours. Raises TimeoutError with what is there instead."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in Text.from_ansi(found := self._run("capture-pane", "-e", "-p")).plain:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{text!r} never came; there is:\n{found}")
            time.sleep(0.1)
        return found

    def stop(self) -> None:
        subprocess.run((*self._tmux, "kill-server"), check=False, capture_output=True)

    def _run(self, *command: str) -> str:
        return subprocess.run((*self._tmux, *command), check=True, capture_output=True, text=True).stdout


@contextmanager
def pane() -> Iterator[Pane]:
    with tempfile.TemporaryDirectory() as folder:
        found = Pane(Path(folder) / "tmux")
        try:
            yield found
        finally:
            found.stop()


def take(kind: Kind) -> None:
    """The dashboard, and the preview of a load that makes another model leave."""
    with pane() as terminal:
        terminal.start(kind.environment)
        keep(terminal.seen("Quit"), kind, "dashboard")
        terminal.press("Home", "Down", "l")
        terminal.seen("Load bge-base: on which device?")
        terminal.press("Down", "Enter")
        keep(terminal.seen("[Cancel]"), kind, "preview")


def keep(captured: str, kind: Kind, screen: str) -> None:
    columns, _ = SMALL
    console = Console(
        width=columns, file=StringIO(), force_terminal=True, color_system="truecolor", record=True, legacy_windows=False
    )
    console.print(Text.from_ansi(captured.rstrip("\n")), no_wrap=True, crop=True)
    told = " ".join(f"{name}={value}" for name, value in kind.environment.items())
    save(
        console.export_svg(title=told, theme=kind.paint, clear=False),
        FOLDER / "terminals" / f"{kind.name}-{screen}.svg",
    )


def take_dumb() -> None:
    """What a terminal gets that can't move its cursor, and the twin that it is sent to."""
    lines: list[str] = []
    for command in ("citadel", "citadel status --plain", "citadel log -n 5"):
        told = subprocess.run(
            ("script", "-qec", command.replace("citadel", CITADEL, 1), os.devnull),
            env={**os.environ, "TERM": "dumb"}, check=False, capture_output=True, text=True,
        )  # fmt: skip
        lines += [
            f"$ TERM=dumb {command}",
            told.stdout.replace("\r", "").rstrip(),
            f"(exit status {told.returncode})",
            "",
        ]
    (FOLDER / "terminals" / "dumb.txt").write_text("\n".join(lines), encoding="utf-8")


async def main() -> None:
    if shutil.which("tmux") is None:
        sys.stderr.write("no terminal was pictured: tmux is not installed\n")
        return
    (FOLDER / "terminals").mkdir(exist_ok=True)
    async with own_engine() as paths:
        await work(await connect(paths))
        for kind in KINDS:
            await asyncio.to_thread(take, kind)
        await asyncio.to_thread(take_dumb)


if __name__ == "__main__":
    asyncio.run(main())
