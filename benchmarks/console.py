"""What the console costs a line and a machine, beside other monitors on the same figures: `python -m benchmarks.console`.

Every program runs in a pseudo terminal of its own, one after another, at each size. It is looked at from outside: bytes
that it writes, processor time of it and its children, the moment of its first paint, and the time from a key to the next
byte. The engine and the stand-in for NVIDIA's library that the rivals read are steered by one process (`benchmarks.steered`).
Python finds bytecode of all of them, as of whatever was installed.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from benchmarks.steered import READY, Mode
from engine.recording.host_facts import HostFacts, this_machine
from tests.nvml.library import environment_with
from tests.pty.terminal import ANSWERS, Terminal, terminal

_SIZES: Final = ((80, 24), (160, 50))
_CARDS: Final = (2, 8)
_BOXES: Final = 100
_CARDS_OF_A_BOX: Final = 4
_SETTLE_S: Final = 4.0
_SAMPLE_KEYS: Final = 16
_ROOT: Final = Path(__file__).parent.parent
_PACKAGES: Final = ("citadel_tui", "engine")
_QUIET_S: Final = 0.1
"""So long nothing is written: the first paint is complete."""


class Program(Struct, frozen=True):
    """A monitor, and two keys that move something and change nothing."""

    name: str
    command: tuple[str, ...]
    keys: tuple[bytes, bytes] | None


class Cost(Struct, frozen=True):
    """What one program cost at one size."""

    program: str
    cards: int
    columns: int
    rows: int
    mode: Mode
    first_paint_s: float
    bytes_per_s: float
    cpu_percent: float
    memory_bytes: int
    key_s: float | None
    """Median time from a key to the next byte; None where it was not measured."""


class ConsoleCosts(Struct, frozen=True):
    """A whole run."""

    machine: HostFacts
    seconds: float
    costs: tuple[Cost, ...]
    once_s: dict[str, float]
    """Median seconds of commands that print once and end."""
    missing: tuple[str, ...]


RIVALS: Final = (
    Program("nvitop", ("nvitop", "--monitor", "full", "--colorful"), (b"\x1b[B", b"\x1b[A")),
    Program("nvtop", ("nvtop", "-d", "10"), (b"\x1b[B", b"\x1b[A")),
    Program("gpustat -i 1", ("gpustat", "-i", "1"), None),
)
_FLEET: Final = Program("citadel fleet", (sys.executable, "-m", "citadel_tui", "fleet"), (b"j", b"k"))
"""Over so many boxes."""
_CITADEL: Final = Program("citadel", (sys.executable, "-m", "citadel_tui"), (b"j", b"k"))


def measure(seconds: float, repeats: int) -> ConsoleCosts:
    """All programs at all sizes, changing and still, and what prints once."""
    found = [replace(p, command=(path, *p.command[1:])) for p in RIVALS if (path := _which(p.command[0]))]
    for package in _PACKAGES:
        compileall.compile_dir(_ROOT / package, quiet=1)
    costs: list[Cost] = []
    once_s: dict[str, float] = {}
    modes: tuple[Mode, ...] = ("changing", "still")
    for mode, cards in product(modes, _CARDS):
        with _steered(mode, cards) as environment:
            for size, program in product(_SIZES, (_CITADEL, *found)):
                costs.append(_cost(program, cards, size, mode, environment, seconds))
                sys.stdout.write(f"{_line(costs[-1])}\n")
                sys.stdout.flush()
            once_s = once_s or _once(environment, repeats)
    for mode in modes:
        with _steered(mode, _CARDS_OF_A_BOX, _BOXES) as environment:
            for size in _SIZES:
                costs.append(_cost(_FLEET, _BOXES * _CARDS_OF_A_BOX, size, mode, environment, seconds))
                sys.stdout.write(f"{_line(costs[-1])}\n")
                sys.stdout.flush()
    missing = tuple(p.name for p in RIVALS if p.name not in {other.name for other in found})
    return ConsoleCosts(this_machine(()), seconds, tuple(costs), once_s, missing)


def _which(command: str) -> str | None:
    """Where the command is: beside the interpreter that runs this, or else on the PATH."""
    return shutil.which(command, path=str(Path(sys.executable).parent)) or shutil.which(command)


@contextmanager
def _steered(mode: Mode, cards: int, boxes: int = 0) -> Iterator[dict[str, str]]:
    """The environment in which Citadel finds the steered engine, and the others the steered cards."""
    with tempfile.TemporaryDirectory(prefix="citadel-bench-") as folder:
        script = Path(folder) / "nvml"
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment = {**inherited, "CITADEL_HOME": folder, "NO_COLOR": "", "COLORTERM": ""}
        command = (sys.executable, "-m", "benchmarks.steered", mode, str(cards), folder, str(boxes))
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as steering:
            assert steering.stdout is not None
            if steering.stdout.readline().strip() != READY:
                raise RuntimeError("the steered engine did not start")
            try:
                yield environment_with(script, environment)
            finally:
                steering.terminate()


def _cost(
    program: Program,
    cards: int,
    size: tuple[int, int],
    mode: Mode,
    environment: Mapping[str, str],
    seconds: float,
) -> Cost:
    with terminal(*program.command, size=size, **environment) as term:
        term.answers = ANSWERS
        first_paint_s = _first_paint_s(term)
        term.bytes_in(_SETTLE_S)
        before_s = _tree(term.pid)[0]
        began_s = time.monotonic()
        written = term.bytes_in(seconds)
        lasted_s = time.monotonic() - began_s
        after_s, memory_bytes = _tree(term.pid)
        if not memory_bytes:
            raise RuntimeError(f"{program.name} has ended; it last wrote {term.written[-300:]!r}")
        key_s = _key_s(term, program.keys) if mode == "still" and program.keys else None
    rate = written / lasted_s
    return Cost(
        program.name,
        cards,
        *size,
        mode,
        first_paint_s,
        rate,
        100 * (after_s - before_s) / lasted_s,
        memory_bytes,
        key_s,
    )


def _first_paint_s(term: Terminal) -> float:
    """Seconds until the last byte of the first burst that is more than the terminal's set-up."""
    began_s = last_s = time.monotonic()
    while len(term.written) < 500 or time.monotonic() - last_s < _QUIET_S:
        if term.bytes_in(0.005):
            last_s = time.monotonic()
        if time.monotonic() - began_s > 15:
            raise RuntimeError(f"nothing was painted: {term.written[-300:]!r}")
    return last_s - began_s


def _key_s(term: Terminal, keys: tuple[bytes, bytes]) -> float:
    times: list[float] = []
    for number in range(_SAMPLE_KEYS):
        times.append(term.answer_s(keys[number % 2]))
        term.bytes_in(0.15)
    return median(times)


def _tree(root: int) -> tuple[float, int]:
    """Processor seconds, and resident bytes, of a process and those it has started."""
    ticks, page_bytes = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    parents: dict[int, int] = {}
    costs: dict[int, tuple[float, int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        costs[pid] = ((int(fields[11]) + int(fields[12])) / ticks, int(fields[21]) * page_bytes)
    tree = {root}
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    mine = [costs[pid] for pid in tree if pid in costs]
    return sum(cpu_s for cpu_s, _ in mine), sum(memory for _, memory in mine)


def _once(environment: Mapping[str, str], repeats: int) -> dict[str, float]:
    found: dict[str, tuple[str, ...]] = {"citadel status": (sys.executable, "-m", "citadel_tui", "status")}
    if gpustat := _which("gpustat"):
        found["gpustat"] = (gpustat,)
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(repeats):
        for name, command in found.items():
            began_s = time.monotonic()
            subprocess.run(command, env=dict(environment), check=True, capture_output=True)
            times[name].append(time.monotonic() - began_s)
    return {name: median(taken) for name, taken in times.items()}


def _line(cost: Cost) -> str:
    key = f"{1e3 * cost.key_s:.0f} ms" if cost.key_s is not None else "–"
    what = f"| {cost.program} | {cost.cards} | {cost.columns}×{cost.rows} | {cost.mode} |"
    return (
        f"{what} {cost.bytes_per_s:,.0f} | {cost.cpu_percent:.1f} % |"
        f" {cost.first_paint_s:.2f} s | {key} | {cost.memory_bytes / 2**20:.0f} MiB |"
    )


def _report_text(report: ConsoleCosts) -> str:
    """The run as Markdown."""
    head = "| program | cards | size | figures | bytes/s | CPU | first paint | key to screen | memory |"
    once = [f"- `{name}`: {1e3 * taken_s:.0f} ms" for name, taken_s in report.once_s.items()]
    absent = [f"- not installed here: {', '.join(report.missing)}"] if report.missing else []
    return "\n".join([head, "|---|--:|---|---|--:|--:|--:|--:|--:|", *map(_line, report.costs), "", *once, *absent])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What the console costs, beside other monitors.")
    parser.add_argument("--seconds", type=float, default=20.0, help="that each program is watched (20)")
    parser.add_argument("--repeats", type=int, default=7, help="of commands that print once (7)")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    arguments = parser.parse_args(argv)
    report = measure(arguments.seconds, arguments.repeats)
    sys.stdout.write(f"\n{_report_text(report)}\n")
    if arguments.output:
        arguments.output.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
