"""How much demand it takes to judge policies by: `python -m benchmarks.enough`.

Generated demand of several kinds, on the replay's default box. Of each, two pieces of so many requests that follow one another
are replayed by themselves under every policy: what is true of the demand, and not of its noise, both say. A demand many times
as long says what is true of it, where two policies are well apart.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations, product
from statistics import fmean
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import astuple

from benchmarks.policies import sizes_of
from engine.core.names import ModelName
from engine.core.policy import Eviction, Policy
from engine.recording.trace import without_repeats
from engine.replay.box import Box, starting_state
from engine.replay.generated import demand
from engine.replay.untimed import EVICTIONS, Hindsight, replay

REQUESTS: Final = (25, 50, 100, 200, 400, 800, 1600)
"""Of a piece, repeats counted once."""
KINDS: Final = tuple(product((12, 25, 50), (1.0, 1.5), (1.0, 2.0)))
"""Models, Zipf's exponent, and the coefficient of variation of the gaps."""
SEEDS: Final = (1, 2)
APART: Final = 1.1
"""Times the switch seconds: two policies that far apart over the whole demand are not alike."""
_HEADING: Final = (
    "| requests, repeats counted once | both pieces: same best | same order of two policies "
    "| right order of two that are apart | default not behind LRU |"
)

Seconds: TypeAlias = dict[Eviction, float]


class Verdicts(Struct, frozen=True):
    """What two pieces of one demand say."""

    same_best: bool
    same_order: float
    """Share of the pairs of policies that both pieces put in the same order."""
    right_order: float | None
    """Share of the pairs that are `APART` over the whole demand, and that a piece puts in the same order; None without one."""
    default_leads: float
    """Share of the pieces in which the default policy took no longer than LRU."""


def main() -> int:
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(of_kind, *zip(*product(KINDS, SEEDS), strict=True)))
    sys.stdout.write(_HEADING + "\n" + "|--:" * (_HEADING.count("|") - 1) + "|\n")
    for requests, said in zip(REQUESTS, zip(*found, strict=True), strict=True):
        columns = zip(*map(astuple, said), strict=True)
        shares = [fmean(share for share in column if share is not None) for column in columns]
        sys.stdout.write(f"| {requests} | {' | '.join(f'{100 * share:.0f} %' for share in shares)} |\n")
    return 0


def of_kind(kind: tuple[int, float, float], seed: int) -> list[Verdicts]:
    """Those of the pieces of each length of `REQUESTS`, of one demand."""
    models, zipf, gap_cv = kind
    # repeats drop out: of the steepest demand about half of the requests
    asked = demand(models, zipf, gap_cv, seed=seed, requests=6 * REQUESTS[-1])
    names, sizes = without_repeats(asked), sizes_of(asked, seed)
    if len(names) < 2 * REQUESTS[-1]:
        raise ValueError(f"{kind} with seed {seed} has only {len(names)} requests when repeats count once")
    whole = _seconds(names, sizes)
    pieces = [(names[:length], names[length : 2 * length]) for length in REQUESTS]
    return [_verdicts(_seconds(first, sizes), _seconds(second, sizes), whole) for first, second in pieces]


def _verdicts(one: Seconds, two: Seconds, whole: Seconds) -> Verdicts:
    """Of two pieces, held against each other and against the whole. What ties is not the same order."""
    pairs = list(combinations(EVICTIONS, 2))
    apart = [(a, b) for a, b in pairs if max(whole[a], whole[b]) >= APART * min(whole[a], whole[b])]
    return Verdicts(
        same_best=min(one, key=one.__getitem__) == min(two, key=two.__getitem__),
        same_order=fmean(_alike(one, two, pair) for pair in pairs),
        right_order=fmean(_alike(piece, whole, pair) for piece in (one, two) for pair in apart) if apart else None,
        default_leads=fmean(piece["expected_loss"] <= piece["lru"] for piece in (one, two)),
    )


def _alike(one: Seconds, two: Seconds, pair: tuple[Eviction, Eviction]) -> bool:
    first, second = pair
    return (one[first] - one[second]) * (two[first] - two[second]) > 0


def _seconds(models: Sequence[ModelName], sizes: dict[ModelName, int]) -> Seconds:
    start = starting_state(Box(), sizes)
    return {name: replay(start, models, Policy(eviction=name), Hindsight()).switch_s for name in EVICTIONS}


if __name__ == "__main__":
    sys.exit(main())
