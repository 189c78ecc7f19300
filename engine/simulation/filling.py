"""How full the GPUs are while models must leave for others: the mean over time."""

from __future__ import annotations

from engine.core.ledger import budget, charged
from engine.core.planning.placement import gpus
from engine.core.state import State


class Filling:
    """The share of the GPUs' budgets that is charged, as a mean over the time since the first eviction."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._at_s = self._share = self._share_seconds = 0.0

    def begin(self, now_s: float) -> None:
        """The first eviction: from now on time counts. Nothing happens when it has begun already."""
        if self._since_s is None:
            self._since_s = self._at_s = now_s

    def note(self, state: State, now_s: float) -> None:
        """The state from `now_s` on."""
        if self._since_s is not None:
            self._share_seconds += self._share * (now_s - self._at_s)
        self._at_s = now_s
        devices = gpus(state)
        self._share = sum(charged(state, d) for d in devices) / sum(budget(state, d) for d in devices)

    def mean(self, now_s: float) -> float | None:
        """Up to `now_s`; None when no time has counted."""
        if self._since_s is None or now_s <= self._since_s:
            return None
        return (self._share_seconds + self._share * (now_s - self._at_s)) / (now_s - self._since_s)
