"""`citadel bench`: how long switches take here, model by model and device by device; puts back what it moved.

`citadel bench compare A B` holds two saved runs against each other; `citadel bench plot FILE` draws one.
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from citadel_tui.bench.files import check_writable, save_run, saved_run
from citadel_tui.cli.bench_text import comparison_text, plotted, progress_line, run_text
from citadel_tui.cli.engine import at_hand, our_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import agreed, progress, tell
from citadel_tui.words.bench import leaving_text
from citadel_tui.words.labels import labels
from engine.bench.compare import compare_runs
from engine.bench.measure import Progress, Schedule
from engine.bench.records import Omission, Series
from engine.bench.run import Chosen, gpus_of, measure_all, run_of, subjects_of, touched
from engine.core.state import Resident, State


def run(arguments: Namespace) -> int:
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
    for path in (arguments.output, arguments.csv):
        check_writable(path)
    return asyncio.run(_bench(arguments))


async def _bench(arguments: Namespace) -> Exit:
    async with at_hand(arguments) as engine:
        before = await engine.snapshot()
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


def _chosen(state: State, arguments: Namespace) -> Chosen:
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
