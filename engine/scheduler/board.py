"""The table at which the scheduler's parts decide: the state, the time of the message at hand, and the effects so far."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from engine.core.ledger import LedgerError, broken_invariants
from engine.core.names import ModelName
from engine.core.policy import Policy
from engine.core.state import Situation, State
from engine.scheduler.effects import Effect
from engine.scheduler.messages import BindFailed, ModelBound, SlabFailed

TICK_S: Final = 0.25
"""How late a deadline may be noticed."""


class Instant(Struct, frozen=True):
    """A moment on both clocks: one to show, one to measure with."""

    wall_s: float
    mono_s: float


class Patience(Struct, frozen=True):
    """How long the engine waits, and how often it tries."""

    queue_s: float = 30.0
    """For room that may come by itself."""
    in_use_s: float = 20.0
    """For running requests to end by themselves, before another one's model goes to the CPU or takes a place in use."""
    drain_s: float = 60.0
    """For the leases of a model that is to leave."""
    load_s: float = 120.0
    """For one attempt of a load, from its reservation; for copying a victim's weights back, and for releasing it."""
    retries: int = 1
    """Further attempts after a load failed in a way that may pass."""


class Board:
    """Owned by one scheduler; only the code that handles a message may touch it."""

    def __init__(self, state: State, policy: Policy, patience: Patience) -> None:
        self._state = state
        self.policy = policy
        self.patience = patience
        self.now = Instant(0.0, 0.0)
        self.effects: list[Effect] = []
        self.quiet_until_s = float("-inf")
        """On the steady clock; until then somebody measures, and nothing is done that no command needs."""
        self.reading_since_s: dict[ModelName, float] = {}
        """When the readings under way were asked for, on the steady clock."""
        self.reading_s: dict[ModelName, float] = {}
        """How long the last reading of each slab from disk took."""
        self.slab_failures: dict[ModelName, SlabFailed] = {}
        self.bind_reports: dict[ModelName, ModelBound | BindFailed] = {}
        """At most one load of a model is under way, so the model names the report."""

    @property
    def state(self) -> State:
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        if wrong := broken_invariants(state):
            raise LedgerError("; ".join(wrong))
        self._state = state

    @property
    def situation(self) -> Situation:
        """What is decided on at this moment."""
        return Situation(self._state, self.policy, self.now.wall_s)

    @property
    def is_quiet(self) -> bool:
        """Whether somebody measures at this moment."""
        return self.now.mono_s < self.quiet_until_s

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)
