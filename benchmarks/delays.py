"""How long requests wait under `expected_loss`, beside `lru`, in timed replays: `python -m benchmarks.delays TRACE:WORK …`.

Both policies run through the engine's own scheduler on the replay's default box, with five assignments of the sizes to the
models (`benchmarks.policies`). LRU has one copy of a model, as engines that know no queues do; `--one-copy` holds ours to one,
too. WORK is how much of the trace's work a GPU does in a second. Means of ratios are geometric.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Final, NamedTuple

from benchmarks.policies import ASSIGNMENTS, sizes_of
from engine.core.policy import Policy
from engine.recording.trace import TraceRequest, read_trace
from engine.replay.box import Box
from engine.simulation.compute import Compute
from engine.simulation.figures import Percentiles, TimedOutcome
from engine.simulation.timed import replay_timed

_COLUMNS: Final = (
    "switch s", "wait mean", "wait p99", "delay mean", "delay p99",
    "delay mean, s", "lru's, s", "filled", "lru's", "on CPU", "denied",
)  # fmt: skip


class TraceLoad(NamedTuple):
    """A trace, and how fast the box's GPUs work through it."""

    path: Path
    work_per_s: float


class Pair(NamedTuple):
    """One assignment under both policies."""

    ours: TimedOutcome
    lru: TimedOutcome


def main() -> int:
    parser = ArgumentParser(description="How long requests wait, beside LRU.")
    parser.add_argument("loads", nargs="+", type=_load, metavar="TRACE:WORK", help="and its work a second on a GPU")
    parser.add_argument("--assignments", type=int, default=len(ASSIGNMENTS), help="of sizes to models (5)")
    parser.add_argument("--one-copy", action="store_true", help="have no model ready on two GPUs")
    arguments = parser.parse_args()
    ours = Policy(copies=not arguments.one_copy)
    _write("demand", "expected_loss ÷ lru: " + _COLUMNS[0], *_COLUMNS[1:])
    _write(*["---"] * (len(_COLUMNS) + 1))
    for load in arguments.loads:
        with load.path.open(encoding="utf-8") as file:
            requests = read_trace(file)
        pairs = [_pair(requests, load.work_per_s, number, ours) for number in ASSIGNMENTS[: arguments.assignments]]
        _write(load.path.stem, *_cells(pairs))
    return 0


def _pair(requests: Sequence[TraceRequest], work_per_s: float, assignment: int, ours: Policy) -> Pair:
    def replayed(policy: Policy) -> TimedOutcome:
        return replay_timed(requests, Box(), Compute(work_per_s), sizes_of(requests, assignment), policy)

    return Pair(replayed(ours), replayed(Policy(eviction="lru", copies=False)))


def _cells(pairs: Sequence[Pair]) -> list[str]:
    figures: list[Callable[[TimedOutcome], float]] = [
        lambda o: o.switch_s,
        lambda o: _known(o.waits).mean_s,
        lambda o: _known(o.waits).percentiles_s[99],
        lambda o: _known(o.delays).mean_s,
        lambda o: _known(o.delays).percentiles_s[99],
    ]
    ours, lru = [p.ours for p in pairs], [p.lru for p in pairs]
    return [
        *(f"{geometric_mean(figure(p.ours) / figure(p.lru) for p in pairs):.3f}" for figure in figures),
        f"{fmean(_known(o.delays).mean_s for o in ours):.2f}",
        f"{fmean(_known(o.delays).mean_s for o in lru):.2f}",
        f"{fmean(o.filled or 0.0 for o in ours):.1%}",
        f"{fmean(o.filled or 0.0 for o in lru):.1%}",
        f"{fmean(o.cpu_share for o in ours):.1%}",
        f"{sum(o.denied for o in ours)} ({sum(o.denied for o in lru)})",
    ]


def _known(found: Percentiles | None) -> Percentiles:
    """Raises ValueError where nobody was answered: there is nothing to compare."""
    if found is None:
        raise ValueError("no request of the trace was answered")
    return found


def _load(text: str) -> TraceLoad:
    path, colon, work = text.rpartition(":")
    try:
        return TraceLoad(Path(path if colon else text), float(work) if colon else 1.0)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not TRACE:WORK, such as trace.csv:20") from None


def _write(*cells: str) -> None:
    sys.stdout.write("| " + " | ".join(cells) + " |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
