"""What the choice of a box is worth: `python -m benchmarks.fleet --help`.

Fleets of simulated boxes (`benchmarks.fleet_boxes`) under the fleet's own view, `choose` and `cheapest`, beside what people run
today (`benchmarks.fleet_routers`), in the same run and for the same requests. The first half of them warms up and is not counted.
All rules find the models where theirs would have put them, the most requested first. Figures are means over the seeds, each of
which has a catalog of its own.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Final

from benchmarks.fleet_boxes import GPUS_OF_A_BOX
from benchmarks.fleet_demand import Demand, pooled_bound, trace_demand, zipf_demand
from benchmarks.fleet_play import Outage, Outcome, play
from benchmarks.fleet_routers import ROUTERS, Chosen
from engine.recording.trace import read_trace

QUICK: Final = ((8, 80, 20_000, 2), (40, 400, 20_000, 2))
"""GPUs, models, requests, seeds."""
FULL: Final = ((8, 80, 100_000, 3), (40, 400, 100_000, 3), (10_000, 100_000, 1_000_000, 1))
_TRACE_BOXES: Final = (3, 8)
_DAY_S: Final = 86_400.0
_HEADING: Final = (
    "| fleet | rule | ready | ÷ pooled | switch s a request | citadel ÷ it | mean wait, s | p99, s | bids a request "
    "| messages a request | refused | choosing, µs (p99) |"
)


def main() -> int:
    parser = ArgumentParser(description="What the choice of a box is worth.")
    parser.add_argument(
        "traces", nargs="*", type=Path, metavar="TRACE", help="lines of t_s,model,work: over 3 and 8 boxes too"
    )
    parser.add_argument("--quick", action="store_true", help="two small fleets, half a minute; in full half an hour")
    arguments = parser.parse_args()
    sys.stdout.write(_HEADING + "\n|" + "---|" * (_HEADING.count("|") - 1) + "\n")
    if not arguments.traces:
        for gpus, models, requests, seeds in QUICK if arguments.quick else FULL:
            demands = [zipf_demand(gpus, models, seed) for seed in range(1, seeds + 1)]
            _report(f"{gpus} GPUs, {models} models", demands, gpus // GPUS_OF_A_BOX, requests)
    for path in arguments.traces:
        with path.open(encoding="utf-8") as file:
            demand = trace_demand(read_trace(file))
        for boxes in _TRACE_BOXES:
            _report(f"{path.stem}, {boxes} boxes", [demand], boxes, len(demand.arrivals))
            if demand.arrivals[-1].at_s > 0.9 * _DAY_S:
                outage = Outage("b0", _DAY_S * 14 / 24, _DAY_S * 15 / 24)
                found = play(Chosen, demand, boxes, len(demand.arrivals), outage=outage)
                _write(
                    f"{path.stem}, {boxes} boxes",
                    "citadel, b0 off 14–15 h",
                    [found],
                    pooled_bound(demand, 2 * boxes),
                    None,
                )
    return 0


def _report(fleet: str, demands: Sequence[Demand], boxes: int, requests: int) -> None:
    """A row for each rule."""
    bound = fmean(pooled_bound(demand, boxes * GPUS_OF_A_BOX) for demand in demands)
    ours: float | None = None
    for rule in ROUTERS:
        found = [play(rule, demand, boxes, requests, seed) for seed, demand in enumerate(demands, 1)]
        ours = _write(fleet, rule.name, found, bound, ours)


def _write(fleet: str, rule: str, found: Sequence[Outcome], bound: float, ours: float | None) -> float:
    """One row; the switch seconds of the first rule, to which the others are compared."""

    def mean(figure: Callable[[Outcome], float]) -> float:
        return fmean(map(figure, found))

    switch_s = mean(lambda o: o.switch_s)
    cells = [
        fleet,
        rule,
        f"{mean(lambda o: o.ready):.4f}",
        f"{mean(lambda o: o.ready) / bound:.3f}",
        f"{switch_s:.4f}",
        "" if ours is None or not switch_s else f"{ours / switch_s:.3f}",
        f"{mean(lambda o: o.mean_wait_s):.3f}",
        f"{mean(lambda o: o.p99_wait_s):.2f}",
        f"{mean(lambda o: o.bids):.3f}",
        f"{mean(lambda o: o.messages):.3f}",
        f"{mean(lambda o: o.refused):.4f}",
        f"{1e6 * mean(lambda o: o.choosing_s):.1f} ({1e6 * mean(lambda o: o.slow_choosing_s):.0f})"
        if found[0].choosing_s
        else "",
    ]
    sys.stdout.write("| " + " | ".join(cells) + " |\n")
    sys.stdout.flush()
    return switch_s if ours is None else ours


if __name__ == "__main__":
    raise SystemExit(main())
