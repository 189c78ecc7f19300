"""The table at which the scheduler's parts decide: the state, the time of the message at hand, and the effects so far.

It is the only place where the state is replaced, always by a function from one state to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from sys import maxsize
from typing import Concatenate, Final, ParamSpec

from msgspec import Struct
from msgspec.structs import replace

from engine.core.ledger import LedgerError, broken_invariants
from engine.core.policy import Policy
from engine.core.state import DeviceState, ModelState, Situation, State
from engine.scheduler.effects import Effect

_P = ParamSpec("_P")

TICK_S: Final = 0.25
"""How late a deadline may be noticed."""


class Instant(Struct, frozen=True):
    """A moment on both clocks: one to show, one to measure with."""

    wall_s: float
    mono_s: float


class QueueBounds(Struct, frozen=True):
    """How much may wait for one model or run on it; whatever comes beyond is told when to ask again."""

    rows: int = 8192
    """To embed, to rerank or to classify."""
    generations: int = 256
    """Texts to be written."""
    wait_s: float = 60.0
    """For what was there before, as predicted."""


UNBOUNDED: Final = QueueBounds(maxsize, maxsize, inf)
"""For replays: all that was asked is to be served."""


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
    not_answering_s: float = 15.0
    """For a sign of life of a worker, before it is replaced."""
    step_s: float = 120.0
    """For one batch or token of a run, before its worker is replaced."""
    queue: QueueBounds = QueueBounds()
    """How much may wait for one model at all."""


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

    @property
    def state(self) -> State:
        return self._state

    def apply(self, transition: Callable[Concatenate[State, _P], State], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Put the state through `transition`, as in `apply(ledger.leave, model, device, now_s)`.

        Raises LedgerError when the ledger forbids it or what comes of it breaks an invariant; the state is as before then.
        """
        state = transition(self._state, *args, **kwargs)
        if state is self._state:
            return
        # After each one, not once a message: a broken state then names the line that broke it, and no later decision rests on it.
        # What the invariants are about is left as it is by all that only learns.
        before = self._state
        is_touched = (
            state.residents is not before.residents
            or state.devices is not before.devices
            or state.ram is not before.ram
        )
        if is_touched and (wrong := broken_invariants(state, before)):
            raise LedgerError("; ".join(wrong))
        self._state = state

    def know_device(self, known: DeviceState) -> None:
        """Replace what is known of a device."""
        self.apply(_with_device, known)

    def know_model(self, known: ModelState) -> None:
        """Replace what is known of a model."""
        self.apply(_with_model, known)

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


def _with_device(state: State, known: DeviceState) -> State:
    return replace(state, devices={**state.devices, known.spec.id: known})


def _with_model(state: State, known: ModelState) -> State:
    return replace(state, models={**state.models, known.spec.name: known})
