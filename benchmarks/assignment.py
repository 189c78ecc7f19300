"""Citadel's assignment of models to devices beside general solvers: `python -m benchmarks.assignment --help`.

The same seeded problems for every contender, on one thread each. A value is compared with the lowest bound that anybody
proved for its problem.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from msgspec import Struct

from benchmarks.instances import KINDS, Instance, Kind, instance
from benchmarks.solvers import Solution, cp_sat, highs, installed
from engine.core.proposing.multiple_knapsack import assign
from engine.recording.host_facts import HostFacts, this_machine

_SIZES: Final = ((20, 2), (100, 2), (100, 8), (1000, 64))
_CITADEL: Final = "Citadel"
_PROVEN: Final = 1e-6
"""Relative distance from value to bound below which a contender has proven its answer."""

_Solve = Callable[[Instance], Solution]


class Run(Struct, frozen=True):
    """One contender on one problem."""

    contender: str
    kind: Kind
    models: int
    devices: int
    seed: int
    value: float
    bound: float
    seconds: float

    @property
    def problem(self) -> tuple[Kind, int, int, int]:
        return (self.kind, self.models, self.devices, self.seed)

    @property
    def proven(self) -> bool:
        """Whether it knew that its answer is the best."""
        return self.bound <= self.value * (1 + _PROVEN)


class AssignmentResults(Struct, frozen=True):
    """A whole benchmark."""

    machine: HostFacts
    limit_s: float
    """What the general solvers were given."""
    runs: tuple[Run, ...]


def main() -> int:
    parser = ArgumentParser(description="Citadel's assignment of models to devices beside general solvers.")
    parser.add_argument("--seeds", type=int, default=3, help="problems of each kind and size (3)")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds that a general solver gets for one (10)")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="keep every run")
    arguments = parser.parse_args()
    contenders = _contenders(arguments.limit)
    runs: list[Run] = []
    for models, devices in _SIZES:
        problems = [instance(kind, models, devices, seed) for kind in KINDS for seed in range(arguments.seeds)]
        runs += [_run(name, solve, problem) for problem in problems for name, solve in contenders.items()]
    results = AssignmentResults(this_machine([]), arguments.limit, tuple(runs))
    if arguments.output is not None:
        arguments.output.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    sys.stdout.write(_report_text(results))
    return 0


def _report_text(results: AssignmentResults) -> str:
    """A table for each size: how near the values are to the best proven bound, what was proven, and how long it took."""
    lines = [
        f"{results.machine.cpu}, Python {results.machine.python}; {results.limit_s:g} s for each general solver",
        "",
    ]
    bounds: dict[tuple[Kind, int, int, int], float] = {}
    for run in results.runs:
        bounds[run.problem] = min(run.bound, bounds.get(run.problem, run.bound))
    for models, devices in _SIZES:
        of_size = [run for run in results.runs if (run.models, run.devices) == (models, devices)]
        lines += [
            f"### {models} models on {devices} devices",
            "",
            "| contender | value ÷ best proven bound: median (lowest) | proven | median, ms | longest, ms |",
            "|---|--:|--:|--:|--:|",
            *(_row(name, of_size, bounds) for name in dict.fromkeys(run.contender for run in of_size)),
            "",
        ]
    return "\n".join(lines)


def _row(name: str, runs: Iterable[Run], bounds: dict[tuple[Kind, int, int, int], float]) -> str:
    own = [run for run in runs if run.contender == name]
    shares = [run.value / bounds[run.problem] for run in own]
    proven = sum(run.proven for run in own)
    times_ms = [1e3 * run.seconds for run in own]
    return (
        f"| {name} | {median(shares):.5f} ({min(shares):.5f}) | {proven} of {len(own)} |"
        f" {median(times_ms):.1f} | {max(times_ms):.1f} |"
    )


def _contenders(limit_s: float) -> dict[str, _Solve]:
    contenders: dict[str, _Solve] = {_CITADEL: _citadel}
    if installed("highspy"):
        contenders["HiGHS"] = lambda problem: highs(problem, limit_s)
    if installed("ortools"):
        contenders["CP-SAT"] = lambda problem: cp_sat(problem, limit_s)
    return contenders


def _citadel(problem: Instance) -> Solution:
    found = assign(problem.items, problem.rooms)
    return Solution(found.value, found.bound)


def _run(name: str, solve: _Solve, problem: Instance) -> Run:
    began = time.perf_counter()
    answer = solve(problem)
    seconds = time.perf_counter() - began
    return Run(
        name, problem.kind, len(problem.items), len(problem.rooms), problem.seed, answer.value, answer.bound, seconds
    )


if __name__ == "__main__":
    sys.exit(main())
