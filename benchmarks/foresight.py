"""What knowing more of the future would save: `python -m benchmarks.foresight TRACE…`.

The untimed replay of `expected_loss` on the default box, five assignments of the sizes each as `benchmarks.policies` has them,
with more and more foresight: the true rates of the requests around each moment, and the true next requests, for the whole
decision or only for what leaves the GPUs or the RAM tier. Switch seconds ÷ those of the demand as counted, geometric means.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Final

from benchmarks.policies import ASSIGNMENTS, sizes_of
from engine.core.names import ModelName
from engine.core.policy import Policy
from engine.core.state import State
from engine.recording.trace import read_trace, without_repeats
from engine.replay.box import Box, starting_state
from engine.replay.untimed import Clairvoyance, Foresight, Hindsight, Outlook, replay

WINDOWS: Final = (48, 144, 432, 1296)
"""Requests before and after a moment that its true rates are counted over; which is best differs with the demand."""


class LocalRates(Foresight):
    """How often each model is asked for around a moment, half of it still to come."""

    def __init__(self, models: Sequence[ModelName], window: int) -> None:
        super().__init__(models)
        self._window = window

    def weight(self, asked_at: Sequence[int], number: int) -> float:
        # the request that is served now is known to everybody, and says nothing of what comes
        after = bisect_left(asked_at, number + self._window + 1) - bisect_left(asked_at, number + 1)
        before = bisect_left(asked_at, number) - bisect_left(asked_at, number - self._window)
        return float(before + after)


def main() -> int:
    parser = ArgumentParser(description="What knowing more of the future would save.")
    parser.add_argument("traces", nargs="+", type=Path, metavar="TRACE", help="lines of t_s,model,work")
    names = ["true local rates", "the future, on the GPUs", "the future, in the RAM tier", "the future"]
    sys.stdout.write("| demand | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1) + "\n")
    for path in parser.parse_args().traces:
        with path.open(encoding="utf-8") as file:
            requests = read_trace(file)
        models = without_repeats(requests)
        starts = [starting_state(Box(), sizes_of(requests, assignment)) for assignment in ASSIGNMENTS]
        counted, future = Hindsight(), Clairvoyance(models)
        today = _seconds(starts, models, counted, counted)
        rates = [LocalRates(models, window) for window in WINDOWS]
        shares = [
            min(_seconds(starts, models, known, known) for known in rates) / today,
            *(
                _seconds(starts, models, gpus, tier) / today
                for gpus, tier in ((future, counted), (counted, future), (future, future))
            ),
        ]
        sys.stdout.write(f"| {path.stem} | " + " | ".join(f"{share:.3f}" for share in shares) + " |\n")
        sys.stdout.flush()
    return 0


def _seconds(starts: Sequence[State], models: Sequence[ModelName], gpus: Outlook, tier: Outlook) -> float:
    return geometric_mean(replay(start, models, Policy(), gpus, tier).switch_s for start in starts)


if __name__ == "__main__":
    raise SystemExit(main())
