"""What the policies cost on whole sets of demand: `python -m benchmarks.policies --help`.

The box is the replay's default one. A trace is replayed with five assignments of the eight sizes to its models: the list in
turn, and four random permutations of it. Generated demand takes two of the permutations each. Means of ratios are geometric.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Final

import numpy as np

from engine.core.names import ModelName
from engine.recording.trace import TraceRequest, read_trace
from engine.replay.box import CYCLE_BYTES, Box
from engine.replay.generated import demand
from engine.replay.untimed import EVICTIONS, PolicyComparison, compare_policies

ASSIGNMENTS: Final = (0, 1, 2, 3, 4)
"""0 is the list of sizes in turn; the others are seeds of its permutations."""
GENERATED: Final = tuple(product((12, 25, 50, 100), (1.0, 1.5, 2.1), (1.0, 2.0, 3.0)))
"""Models, Zipf's exponent, and the coefficient of variation of the gaps."""
_HEADING: Final = (
    "| demand | replays | " + " | ".join(f"{name} ÷ lru" for name in EVICTIONS) + " | expected_loss ÷ clairvoyant "
    "| clairvoyant ÷ lru | filled, expected_loss | filled, lru |"
)


def main() -> int:
    parser = ArgumentParser(description="What the policies cost on whole sets of demand.")
    parser.add_argument("traces", nargs="*", type=Path, metavar="TRACE", help="lines of t_s,model,work")
    parser.add_argument("--generated", action="store_true", help=f"seeded demand of {len(GENERATED)} kinds as well")
    arguments = parser.parse_args()
    sys.stdout.write(_HEADING + "\n|" + "---|" * (_HEADING.count("|") - 1) + "\n")
    for path in arguments.traces:
        with path.open(encoding="utf-8") as file:
            requests = read_trace(file)
        _report(path.stem, [compared(requests, assignment) for assignment in ASSIGNMENTS])
    if arguments.generated:
        _report("generated", [compared(asked, assignment) for asked in _demands() for assignment in ASSIGNMENTS[1:3]])
    return 0


def compared(requests: Sequence[TraceRequest], assignment: int) -> PolicyComparison:
    """All policies on the default box, with the sizes of `assignment`."""
    return compare_policies(requests, Box(), sizes_of(requests, assignment))


def sizes_of(requests: Sequence[TraceRequest], assignment: int) -> dict[ModelName, int]:
    """The sizes of the requests' models under one of `ASSIGNMENTS`."""
    models = sorted({request.model for request in requests})
    cycle = np.random.default_rng(assignment).permutation(CYCLE_BYTES) if assignment else np.array(CYCLE_BYTES)
    return {model: int(cycle[rank % len(cycle)]) for rank, model in enumerate(models)}


def _demands() -> list[tuple[TraceRequest, ...]]:
    return [demand(models, zipf, gap_cv, seed=models + int(10 * zipf + gap_cv)) for models, zipf, gap_cv in GENERATED]


def _report(name: str, found: Sequence[PolicyComparison]) -> None:
    """One row of the table."""
    ratios = [
        geometric_mean(c.policies[policy].switch_s / c.policies["lru"].switch_s for c in found) for policy in EVICTIONS
    ]
    ratios += [
        geometric_mean(c.policies["expected_loss"].switch_s / c.clairvoyant.switch_s for c in found),
        geometric_mean(c.clairvoyant.switch_s / c.policies["lru"].switch_s for c in found),
    ]
    # demand that fits the box leaves nobody under pressure, and has no figure
    filled = [
        fmean(u for c in found if (u := c.policies[policy].utilization) is not None)
        for policy in ("expected_loss", "lru")
    ]
    cells = [
        name,
        str(len(found)),
        *(f"{ratio:.3f}" for ratio in ratios),
        *(f"{100 * share:.1f} %" for share in filled),
    ]
    sys.stdout.write("| " + " | ".join(cells) + " |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
