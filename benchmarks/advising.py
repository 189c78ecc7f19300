"""Whether advice on one piece of a demand is true of the next one: `python -m benchmarks.advising`.

Generated demand of several kinds, on the replay's default box with a third of its RAM tier. Of each, two pieces of so many
requests that follow one another are advised on by themselves: what the first piece's advice says must hold on the second.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from typing import Final

from msgspec import Struct

from benchmarks.policies import sizes_of
from engine.core.names import ModelName
from engine.recording.trace import TraceRequest
from engine.replay.box import Box
from engine.replay.generated import demand
from engine.simulation.advice import Advice, advise, question
from engine.simulation.variants import Setup

REQUESTS: Final = (100, 200, 400)
"""Of a piece, repeats included."""
KINDS: Final = tuple(product((12, 25), (1.0, 1.5), (1.0, 2.0)))
"""Models, Zipf's exponent, and the coefficient of variation of the gaps."""
SEEDS: Final = (1, 2)
_HEADING: Final = (
    "| requests | suggestions | save on the next piece too | as much as said, give or take | same first suggestion |\n"
    "|--:|--:|--:|--:|--:|\n"
)


class Held(Struct, frozen=True):
    """What became of one piece's advice on the next."""

    suggestions: int
    save_again: int
    """Of the suggestions, those that save switch seconds on the next piece."""
    as_said: int
    """Of them, those whose savings on both pieces differ by no more than the intervals of both together."""
    same_first: bool | None
    """None where one of the pieces has no suggestion."""


def main() -> int:
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(of_demand, *zip(*product(KINDS, SEEDS), strict=True)))
    sys.stdout.write(_HEADING)
    for requests, held in zip(REQUESTS, zip(*found, strict=True), strict=True):
        sys.stdout.write(f"| {requests} | {' | '.join(_cells(held))} |\n")
    return 0


def _cells(held: Sequence[Held]) -> list[str]:
    suggestions = sum(h.suggestions for h in held)
    firsts = [h.same_first for h in held if h.same_first is not None]
    return [
        f"{suggestions / len(held):.1f}",
        _share(sum(h.save_again for h in held), suggestions),
        _share(sum(h.as_said for h in held), suggestions),
        _share(sum(firsts), len(firsts)),
    ]


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}"


def of_demand(kind: tuple[int, float, float], seed: int) -> list[Held]:
    """For each length of `REQUESTS`, of one demand."""
    models, zipf, gap_cv = kind
    requests = demand(models, zipf, gap_cv, seed=seed, requests=3 * REQUESTS[-1])
    sizes = sizes_of(requests, seed)
    pieces = [(requests[:length], requests[length : 2 * length]) for length in REQUESTS]
    return [_held(_advised(first, sizes), _advised(second, sizes)) for first, second in pieces]


def _advised(requests: Sequence[TraceRequest], sizes: dict[ModelName, int]) -> Advice:
    box = Box(ram_bytes=Box().ram_bytes // 3)
    return advise(question(Setup(box, sizes), requests), lambda _now: None)


def _held(first: Advice, second: Advice) -> Held:
    then = {s.title: s.switching for s in (*second.suggestions, *second.of_no_use)}
    # a model that nobody asked for in one of them is not tried there
    pairs = [(s.switching, then[s.title]) for s in first.suggestions if s.title in then]
    best = [advice.suggestions[0].title for advice in (first, second) if advice.suggestions]
    return Held(
        suggestions=len(pairs),
        save_again=sum(after.saved_s > 0 for _, after in pairs),
        as_said=sum(abs(now.saved_s - after.saved_s) <= now.give_s + after.give_s for now, after in pairs),
        same_first=best[0] == best[1] if len(best) == 2 else None,
    )


if __name__ == "__main__":
    sys.exit(main())
