"""Policies side by side on one trace and one box, and how far each is from the clairvoyant one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, get_args

from msgspec import Struct

from engine.core.names import ModelName
from engine.core.policy import Eviction, Policy
from engine.replay.box import Box, starting_state
from engine.replay.foresight import Clairvoyance, Hindsight
from engine.replay.trace import Request, without_repeats
from engine.replay.untimed import Outcome, replay

EVICTIONS: Final[tuple[Eviction, ...]] = get_args(Eviction)


class Comparison(Struct, frozen=True):
    """What each policy did, and the reference that knew the future."""

    box: Box
    sizes: dict[ModelName, int]
    requests: int
    """Of the trace, repeats included."""
    policies: dict[Eviction, Outcome]
    clairvoyant: Outcome

    def regret(self, outcome: Outcome) -> float:
        """By which share `outcome` took longer than knowing the future would have."""
        return outcome.switch_s / self.clairvoyant.switch_s - 1


def compare(
    requests: Sequence[Request], box: Box, sizes: Mapping[ModelName, int], evictions: Sequence[Eviction] = EVICTIONS
) -> Comparison:
    """Replay `requests` on `box` once for each of `evictions`, and once with the future known."""
    start = starting_state(box, sizes)
    models = without_repeats(requests)
    return Comparison(
        box=box,
        sizes=dict(sizes),
        requests=len(requests),
        policies={name: replay(start, models, Policy(eviction=name), Hindsight()) for name in evictions},
        clairvoyant=replay(start, models, Policy(), Clairvoyance(models)),
    )
