"""`citadel bench`: how long switches take here, model by model and device by device; puts back what it moved.

`citadel bench compare A B` holds two saved runs against each other; `citadel bench plot FILE` draws one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from citadel_tui.bench.files import check_writable, save_run, saved_run
from citadel_tui.cli.bench_text import comparison_text, plotted, progress_line, run_text
from citadel_tui.cli.engine import at_hand, our_paths, restored
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import agreed, progress, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.values import count, count_or_none, device, percentage
from citadel_tui.words.bench import leaving_text
from citadel_tui.words.labels import labels
from engine.bench.compare import compare_runs
from engine.bench.measure import Progress, Schedule
from engine.bench.records import FromTier, Omission, Series
from engine.bench.run import Chosen, gpus_of, measure_all, run_of, subjects_of, touched
from engine.core.names import DeviceId
from engine.core.state import Resident, State


class BenchArguments(Arguments, frozen=True, kw_only=True):
    models: Sequence[str]
    """Those of the catalog; or `compare` or `plot`, and files."""
    on: Sequence[DeviceId] | None
    tiers: Sequence[FromTier]
    pairs: bool
    repeats: int
    warm_up: int
    yes: bool
    output: Path | None
    csv: Path | None
    threshold: float
    """How much slower counts, as a share of the time before."""


def add_arguments(command: CommandParser) -> None:
    command.usage = (
        "citadel bench [MODEL …] [--on DEVICE …] [--from {resident,ram,page-cache,disk} …] [--pairs] [-n N]\n"
        "                     [--warm-up N] [--yes] [--output FILE.json] [--csv FILE]\n"
        "       citadel bench compare BEFORE.json AFTER.json [--threshold PERCENT]\n"
        "       citadel bench plot RUN.json -o RUN.svg"
    )
    command.add_argument("models", nargs="*", metavar="MODEL", help="all of the catalog when left out")
    command.add_argument("--on", type=device, nargs="+", metavar="DEVICE", help="every GPU when left out")
    command.add_argument(
        "--from",
        dest="tiers",
        nargs="+",
        choices=get_args(FromTier),
        default=("ram",),
        help="where loads start (ram); disk: the page cache is emptied of the slab; resident: requests on a ready model",
    )
    command.add_argument("--pairs", action="store_true", help="every model out for every other, not only for itself")
    command.add_argument("-n", type=count, default=7, dest="repeats", metavar="N", help="switches that count (7)")
    command.add_argument("--warm-up", type=count_or_none, default=1, metavar="N", help="switches before them (1)")
    command.add_argument("--yes", "-y", action="store_true", help="don't ask, whoever is taken off a device meanwhile")
    command.add_argument(
        "--output", "-o", type=Path, metavar="FILE", help="keep every repeat and the machine's facts; plot: the picture"
    )
    command.add_argument("--csv", type=Path, metavar="FILE", help="a row a repeat")
    command.add_argument(
        "--threshold", type=percentage, default=0.1, metavar="PERCENT", help="compare: slower by more fails (10%%)"
    )
    command.carried_out_by(run, BenchArguments)


def run(arguments: BenchArguments) -> int:
    match arguments.models:
        case ["compare", before, after]:
            return _compare(Path(before), Path(after), arguments.threshold)
        case ["compare", *_]:
            tell("compare takes two files: citadel bench compare BEFORE.json AFTER.json")
            return Exit.NO_ENGINE
        case ["plot", path] if arguments.output is not None:
            return plotted(saved_run(Path(path)), arguments.output)
        case ["plot", *_]:
            tell("plot takes a file and where to draw it: citadel bench plot RUN.json -o RUN.svg")
            return Exit.NO_ENGINE
    for kept in (arguments.output, arguments.csv):
        check_writable(kept)
    return asyncio.run(_bench(arguments))


async def _bench(arguments: BenchArguments) -> Exit:
    async with at_hand(arguments) as engine:
        before = await restored(engine)
        subjects = subjects_of(before.state, _chosen(before.state, arguments))
        leaving = await touched(engine, before.state, subjects)
        if leaving and not arguments.yes and not _confirmed(before.state, leaving):
            return Exit.NOT_CONFIRMED
        protocol = Schedule(arguments.repeats, arguments.warm_up)
        watcher = _Watcher()
        try:
            with progress() as watcher.show:
                await measure_all(engine, before.state, subjects, leaving, protocol, our_paths().cache, watcher)
        finally:
            for trouble in watcher.troubles:
                tell(f"not put back: {trouble}")
        hello = await engine.hello()
        after = await engine.snapshot()
        found = run_of(hello.version, before, after, arguments.warm_up, watcher.sample_s, watcher.results)
        if hello.banner:
            tell(hello.banner)
    print(run_text(found))
    save_run(found, arguments.output, arguments.csv)
    return Exit.DONE if found.series else Exit.FAILED


class _Watcher:
    """Shows where the benchmark is, and keeps what it has found."""

    def __init__(self) -> None:
        self.show: Callable[[str], None] = tell
        """Where the progress line goes."""
        self.sample_s: float | None = None
        self.results: list[Series | Omission] = []
        self.troubles: list[str] = []

    def quietened(self, sample_s: float) -> None:
        self.sample_s = sample_s

    def progress(self, now: Progress) -> None:
        self.show(progress_line(now))

    def measured(self, found: Series | Omission) -> None:
        self.results.append(found)

    def putting_back(self) -> None:
        self.show("putting everything back")

    def not_put_back(self, what: str) -> None:
        self.troubles.append(what)


def _chosen(state: State, arguments: BenchArguments) -> Chosen:
    """The whole catalog and every GPU where nothing is named."""
    models, devices = arguments.models or state.models, arguments.on or gpus_of(state)
    return Chosen(tuple(models), tuple(devices), tuple(arguments.tiers), arguments.pairs)


def _confirmed(state: State, touched: Sequence[Resident]) -> bool:
    label = labels(state)
    tell("this takes models off their devices for as long as it runs, and puts them back:")
    for resident in touched:
        tell(f"  {leaving_text(resident, label)}")
    return agreed()


def _compare(before: Path, after: Path, threshold: float) -> Exit:
    compared = compare_runs(saved_run(before), saved_run(after))
    print(comparison_text(compared, threshold))
    if not compared.comparisons:
        return Exit.FAILED
    slower = any(comparison.change.is_worse_than(threshold) for comparison in compared.comparisons)
    return Exit.FAILED if slower else Exit.DONE
