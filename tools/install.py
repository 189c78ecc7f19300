"""Runs `pip install` as make does, and says what is fetched, how large it is, how far it has come and how long it has taken.

    python tools/install.py LABEL OPTIONS-OF-PIP-INSTALL...

On a terminal a line that changes in place says what is under way; elsewhere there are whole lines only. What pip itself says is
shown when it fails. Needs nothing but Python: it runs before anything is installed.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PIP: Final = (
    *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"),
)
_FETCHED: Final = re.compile(r"\s*(?:Downloading|Using cached) (?:\S*/)?(\S+) \(([\d.]+) ([kMG]?)B\)")
_FROM_DISK: Final = re.compile(r"\s*Processing (/\S+\.(?:whl|tar\.gz|zip))(?: |$)")
_UNPACKING: Final = "Installing collected packages: "
_LARGE_BYTES: Final = 20e6
_LAST_LINES: Final = 20
_TICK_S: Final = 0.5


def main() -> int:
    """The exit status of pip."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # to end as the shell that waits for it expects
    label, *options = sys.argv[1:]
    site = Path(sysconfig.get_path("purelib"))
    before_bytes, before = size_bytes(site), packages(site)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    pip = subprocess.Popen(
        [*_PIP, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    page = Page(label, site, len(before))
    said = []
    for line in lines_of(pip):
        if line is None:
            page.tick()
        else:
            said.append(line)
            page.hear(line)
    status = pip.wait()
    page.clear()
    if status:
        errors = [line for line in said if line.startswith("ERROR")] or said[-_LAST_LINES:]
        print("\n".join(errors), file=sys.stderr)
    else:
        page.finish(size_bytes(site) - before_bytes)
    return status


class Page:
    """What is told while pip runs."""

    def __init__(self, label: str, site: Path, there_before: int) -> None:
        self._label: Final = label
        self._site: Final = site
        self._there_before: Final = there_before
        self._began_s: Final = time.monotonic()
        self._moves: Final = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._fetched = 0
        self._fetched_bytes = 0.0
        self._to_unpack = 0
        self._now = ""
        self._drawn = ""
        self._line(f"{label}: looking up what is needed")

    def hear(self, line: str) -> None:
        """Take up what pip says."""
        if line.startswith(_UNPACKING):
            self._to_unpack = line.count(",") + 1
            self._line(f"{self._label}: {counted(self._to_unpack)} to unpack, {size_text(self._fetched_bytes)} fetched")
        elif fetched := fetched_file(line):
            name, its_bytes = fetched
            self._fetched, self._fetched_bytes = self._fetched + 1, self._fetched_bytes + its_bytes
            self._now = name
            if its_bytes >= _LARGE_BYTES:
                self._line(f"  {name}, {size_text(its_bytes)}")
        self.tick()

    def tick(self) -> None:
        """Draw the line that changes, where there may be one."""
        if self._to_unpack:
            done = min(max(len(packages(self._site)) - self._there_before, 0), self._to_unpack)
            self._draw(f"unpacking: {done} of {counted(self._to_unpack)}")
        elif self._fetched:
            self._draw(f"fetching: {counted(self._fetched)}, {size_text(self._fetched_bytes)}; now {self._now}")
        else:
            self._draw("looking up what is needed")

    def clear(self) -> None:
        if self._drawn:
            print("\r\x1b[K", end="", flush=True)
            self._drawn = ""

    def finish(self, grown_bytes: int) -> None:
        if self._to_unpack:
            what = f"{counted(self._to_unpack)} installed, {size_text(grown_bytes)} on disk"
        else:
            what = "everything was there"
        self._line(f"{self._label}: {what}, in {clock_text(time.monotonic() - self._began_s)}")

    def _line(self, text: str) -> None:
        self.clear()
        print(f"citadel: {text}", flush=True)

    def _draw(self, text: str) -> None:
        if self._moves:
            line = f"citadel: {text}  {clock_text(time.monotonic() - self._began_s)}"
            line = line[: shutil.get_terminal_size().columns - 1]
            if line != self._drawn:
                print(f"\r\x1b[K{line}", end="", flush=True)
                self._drawn = line


def lines_of(process: subprocess.Popen[str]) -> Iterator[str | None]:
    """What the process says, line by line until it ends; None whenever a while has passed without one."""
    said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    ended = threading.Event()

    def read() -> None:
        for line in process.stdout or ():
            said.put(line.rstrip("\n"))
        ended.set()
        said.put(None)

    threading.Thread(target=read, daemon=True).start()
    while not (ended.is_set() and said.empty()):
        try:
            yield said.get(timeout=_TICK_S)
        except queue.Empty:
            yield None


def fetched_file(line: str) -> tuple[str, float] | None:
    """Name with version and size in bytes of the package that pip says to fetch; None when it says something else."""
    if (match := _FETCHED.match(line)) and not match[1].endswith(".metadata"):
        return named(match[1]), float(match[2]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[match[3]]
    if (match := _FROM_DISK.match(line)) and (path := Path(match[1])).is_file():
        return named(path.name), path.stat().st_size
    return None


def named(file: str) -> str:
    """`torch 2.13.0` of `torch-2.13.0-cp311-….whl`."""
    return " ".join(re.sub(r"\.(whl|tar\.gz|zip)$", "", file).split("-")[:2])


def packages(site: Path) -> set[str]:
    return {entry.name for entry in os.scandir(site) if entry.name.endswith(".dist-info")} if site.is_dir() else set()


def size_bytes(site: Path) -> int:
    return sum(
        os.lstat(os.path.join(folder, file)).st_size for folder, _folders, files in os.walk(site) for file in files
    )


def size_text(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def counted(packages: int) -> str:
    return f"{packages} package" + ("" if packages == 1 else "s")


def clock_text(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


if __name__ == "__main__":
    sys.exit(main())
