"""How full the GPUs' budgets were: what drives, replays and reports all mean by it. A share holds until the next one is told, so
that the mean is by time and not by how often somebody looked."""

from __future__ import annotations

from msgspec import Struct

from engine.core.ledger import budget, charged
from engine.core.planning.placement import gpus
from engine.core.state import State


class BudgetUse(Struct, frozen=True):
    """Shares, of 1, over the time for which they are known."""

    mean: float
    """By time."""
    peak: float
    seconds: float
    """For which shares were told; above 0."""


def gpus_share(state: State) -> float | None:
    """The share of all GPUs' budgets together that is charged; None without a budget."""
    devices = gpus(state)
    budget_bytes = sum(budget(state, device) for device in devices)
    return sum(charged(state, device) for device in devices) / budget_bytes if budget_bytes else None


class BudgetMeter:
    """Is told shares, and adds up for how long each of them held."""

    def __init__(self) -> None:
        self._share_seconds = 0.0
        self._held_s = 0.0
        self._peak = 0.0
        self._share = 0.0
        self._since_s: float | None = None
        self._until_s = 0.0

    def hold(self, share: float, seconds: float) -> None:
        """It was so full for so long, whenever that was."""
        self._share_seconds += share * seconds
        self._held_s += seconds
        self._peak = max(self._peak, share)

    def note(self, share: float, at_s: float) -> None:
        """It is so full from `at_s` on, until the next note."""
        if self._since_s is None:
            self._since_s = self._until_s = at_s
        self.pass_until(at_s)
        self._share = share
        self._peak = max(self._peak, share)

    def pass_until(self, at_s: float) -> None:
        """What was noted last has held until `at_s`. Nothing happens before the first note."""
        if self._since_s is not None:
            self._share_seconds += self._share * (at_s - self._until_s)
            self._until_s = at_s

    @property
    def use(self) -> BudgetUse | None:
        """None while no time has passed: a share that held for none says nothing of a mean."""
        # From the first note to the last, not summed from note to note: rounding would add up over a long replay.
        noted_s = 0.0 if self._since_s is None else self._until_s - self._since_s
        seconds = self._held_s + noted_s
        return BudgetUse(self._share_seconds / seconds, self._peak, seconds) if seconds > 0 else None
