"""`citadel bench`: how long switches take here, model by model and device by device, or how long requests do; puts back what it
moved.

`citadel bench compare A B` holds two saved runs of one kind against each other; `citadel bench plot FILE` draws one of switches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Generic, TypeVar, get_args

from citadel_tui.bench.files import check_writable, is_of_requests, save_requests, save_run, saved_requests, saved_run
from citadel_tui.bench.request_text import request_progress_line, requests_comparison_text, requests_text
from citadel_tui.cli.engine import at_hand, our_paths, restored
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import agreed, progress, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.texts.bench import comparison_text, plotted, progress_line, run_text
from citadel_tui.cli.values import count, count_or_none, device, percentage
from citadel_tui.words.bench import leaving_text
from citadel_tui.words.labels import labels
from engine.api import EngineError
from engine.bench.compare import compare_runs
from engine.bench.measure import Progress, Schedule
from engine.bench.records import FromTier, Omission, Series
from engine.bench.request_compare import compare_requests
from engine.bench.request_records import RequestOmission, RequestSeries
from engine.bench.requests import RequestMix, RequestProgress, measure_requests, requests_run_of
from engine.bench.run import Chosen, gpus_of, known_models, loads_of, measure_all, run_of, subjects_of, touched
from engine.core.commands import Load
from engine.core.names import DeviceId
from engine.core.state import Resident, State

AT_ONCE: Final = 8
TOKENS: Final = 32


class BenchArguments(Arguments, frozen=True, kw_only=True):
    models: Sequence[str]
    """Those of the catalog; or `compare` or `plot`, and files."""
    on: Sequence[DeviceId] | None
    tiers: Sequence[FromTier] | None
    pairs: bool
    requests: bool
    at_once: int | None
    tokens: int | None
    repeats: int
    warm_up: int
    yes: bool
    output: Path | None
    csv: Path | None
    markdown: Path | None
    threshold: float
    """How much slower counts, as a share of the time before."""

    @property
    def misplaced(self) -> tuple[str, ...]:
        """What was asked for and means nothing beside what else was."""
        of_switches = {"--on": self.on, "--from": self.tiers, "--pairs": self.pairs}
        of_requests = {"--at-once": self.at_once, "--tokens": self.tokens, "--markdown": self.markdown}
        return tuple(name for name, given in (of_switches if self.requests else of_requests).items() if given)


def add_arguments(command: CommandParser) -> None:
    command.usage = (
        "citadel bench [MODEL …] [--on DEVICE …] [--from {resident,ram,page-cache,disk} …] [--pairs] [-n N]\n"
        "                     [--warm-up N] [--yes] [--output FILE.json] [--csv FILE]\n"
        "       citadel bench --requests [MODEL …] [-n N] [--at-once K] [--tokens N] [--warm-up N] [--yes]\n"
        "                     [--output FILE.json] [--csv FILE] [--markdown FILE]\n"
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
        help="where loads start (ram); disk: the page cache is emptied of the slab; resident: requests on a ready model",
    )
    command.add_argument("--pairs", action="store_true", help="every model out for every other, not only for itself")
    command.add_argument(
        "--requests",
        action="store_true",
        help="how long requests take instead: to models that must be loaded, one at a time, and several at once",
    )
    command.add_argument("--at-once", type=count, metavar="K", help=f"so many requests at once ({AT_ONCE})")
    command.add_argument("--tokens", type=count, metavar="N", help=f"so many tokens of a generation at most ({TOKENS})")
    command.add_argument(
        "-n", type=count, default=7, dest="repeats", metavar="N", help="switches, or rounds of requests, that count (7)"
    )
    command.add_argument("--warm-up", type=count_or_none, default=1, metavar="N", help="the same before them (1)")
    command.add_argument("--yes", "-y", action="store_true", help="don't ask, whoever is taken off a device meanwhile")
    command.add_argument(
        "--output", "-o", type=Path, metavar="FILE", help="keep every repeat and the machine's facts; plot: the picture"
    )
    command.add_argument("--csv", type=Path, metavar="FILE", help="a row a repeat, or a request")
    command.add_argument("--markdown", type=Path, metavar="FILE", help="of requests: the table, as a document has it")
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
            if is_of_requests(Path(path)):
                raise EngineError(f"{path} is a run of requests; only switches are drawn")
            return plotted(saved_run(Path(path)), arguments.output)
        case ["plot", *_]:
            tell("plot takes a file and where to draw it: citadel bench plot RUN.json -o RUN.svg")
            return Exit.NO_ENGINE
    if arguments.misplaced:
        switches = "requests run where the engine puts them" if arguments.requests else "they belong to --requests"
        tell(f"nothing was measured: {', '.join(arguments.misplaced)} can't be meant here; {switches}")
        return Exit.NO_ENGINE
    for kept in (arguments.output, arguments.csv, arguments.markdown):
        check_writable(kept)
    return asyncio.run(_bench_requests(arguments) if arguments.requests else _bench(arguments))


async def _bench(arguments: BenchArguments) -> Exit:
    async with at_hand(arguments) as engine:
        before = await restored(engine)
        subjects = subjects_of(before.state, _chosen(before.state, arguments))
        leaving = await touched(engine, before.state, loads_of(subjects))
        if leaving and not arguments.yes and not _confirmed(before.state, leaving):
            return Exit.NOT_CONFIRMED
        protocol = Schedule(arguments.repeats, arguments.warm_up)
        watcher = _Watcher[Progress, Series | Omission](progress_line)
        with watcher.watching():
            await measure_all(engine, before.state, subjects, leaving, protocol, our_paths().cache, watcher)
        hello = await engine.hello()
        after = await engine.snapshot()
        found = run_of(hello.version, before, after, arguments.warm_up, watcher.sample_s, watcher.results)
        if hello.banner:
            tell(hello.banner)
    print(run_text(found))
    save_run(found, arguments.output, arguments.csv)
    return Exit.DONE if found.series else Exit.FAILED


async def _bench_requests(arguments: BenchArguments) -> Exit:
    mix = RequestMix(arguments.repeats, arguments.warm_up, arguments.at_once or AT_ONCE, arguments.tokens or TOKENS)
    async with at_hand(arguments) as engine:
        before = await engine.snapshot()
        models = known_models(before.state, arguments.models or tuple(before.state.models))
        leaving = await touched(engine, before.state, [Load(model) for model in models])
        if leaving and not arguments.yes and not _confirmed(before.state, leaving):
            return Exit.NOT_CONFIRMED
        watcher = _Watcher[RequestProgress, RequestSeries | RequestOmission](request_progress_line)
        with watcher.watching():
            await measure_requests(engine, before.state, models, leaving, mix, watcher)
        hello = await engine.hello()
        after = await engine.snapshot()
        found = requests_run_of(hello.version, before.at_s, after.state, mix.text, watcher.results, watcher.sample_s)
        if hello.banner:
            tell(hello.banner)
    print(requests_text(found))
    save_requests(found, arguments.output, arguments.csv, arguments.markdown)
    return Exit.DONE if found.series else Exit.FAILED


_Now = TypeVar("_Now")
_Found = TypeVar("_Found")


class _Watcher(Generic[_Now, _Found]):
    """Shows where the benchmark is, and keeps what it has found."""

    def __init__(self, line: Callable[[_Now], str]) -> None:
        self.sample_s: float | None = None
        self.results: list[_Found] = []
        self._line = line
        self._show: Callable[[str], None] = tell
        """Where the progress line goes."""
        self._troubles: list[str] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The progress line is there meanwhile; what could not be put back is told behind it."""
        try:
            with progress() as self._show:
                yield
        finally:
            for trouble in self._troubles:
                tell(f"not put back: {trouble}")

    def quietened(self, sample_s: float) -> None:
        self.sample_s = sample_s

    def progress(self, now: _Now) -> None:
        self._show(self._line(now))

    def measured(self, found: _Found) -> None:
        self.results.append(found)

    def putting_back(self) -> None:
        self._show("putting everything back")

    def not_put_back(self, what: str) -> None:
        self._troubles.append(what)


def _chosen(state: State, arguments: BenchArguments) -> Chosen:
    """The whole catalog and every GPU where nothing is named."""
    models, devices = arguments.models or state.models, arguments.on or gpus_of(state)
    return Chosen(tuple(models), tuple(devices), tuple(arguments.tiers or ("ram",)), arguments.pairs)


def _confirmed(state: State, touched: Sequence[Resident]) -> bool:
    label = labels(state)
    tell("this takes models off their devices for as long as it runs, and puts them back:")
    for resident in touched:
        tell(f"  {leaving_text(resident, label)}")
    return agreed()


def _compare(before: Path, after: Path, threshold: float) -> Exit:
    match is_of_requests(before), is_of_requests(after):
        case True, True:
            of_requests = compare_requests(saved_requests(before), saved_requests(after))
            print(requests_comparison_text(of_requests, threshold))
            changes = [comparison.change for comparison in of_requests.comparisons]
        case False, False:
            of_switches = compare_runs(saved_run(before), saved_run(after))
            print(comparison_text(of_switches, threshold))
            changes = [comparison.change for comparison in of_switches.comparisons]
        case _:
            raise EngineError(
                f"one of {before} and {after} is a run of switches and one of requests: they don't compare"
            )
    is_well = changes and not any(change.is_worse_than(threshold) for change in changes)
    return Exit.DONE if is_well else Exit.FAILED
