"""Requests that wait for their model, and the leases of those that run on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

from msgspec import Struct

from engine.core import ledger
from engine.core.forecast.demand import request_came
from engine.core.forecast.queueing import queued
from engine.core.forecast.run_costs import answered_s, ran
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.eviction import eviction_policy
from engine.core.state import Resident
from engine.scheduler.admission import full
from engine.scheduler.board import Board
from engine.scheduler.effects import Deny, Grant, StopRun


class _Asked(Struct, frozen=True):
    """A request that waits for its model or runs on it."""

    model: ModelName
    work: int


class _Held(Struct, frozen=True):
    """A lease under which a request runs."""

    device: DeviceId
    work: int


class Leases:
    """Grants each lease once and ends it once, also when its worker dies or nobody waits for it any more."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._asked: dict[int, _Asked] = {}
        """By lease, as long as it is waited for or granted."""
        self._ahead = defaultdict[ModelName, Counter[int]](Counter)
        """The same by model: how many ask for so much. Counted as they come and go, since each newcomer looks at all of them."""
        self._waiting: dict[ModelName, dict[int, int]] = {}
        """What each request asks for that has no lease yet, by model and lease; who waits longest comes first in both."""
        self._running: dict[ModelName, dict[int, _Held]] = {}
        self._stopped: set[int] = set()
        """Leases whose runs were told to end."""

    def ask(self, lease: int, model: ModelName, work: int, *, again: bool = False) -> None:
        """A request comes, and is taken unless its model's queue is full. One that asks again had its place before: it is no
        new demand, and is not turned away."""
        board = self._board
        if not again:
            board.apply(eviction_policy(board.policy).asked, model)
            board.apply(request_came, model, board.now.wall_s)
            if refused := full(board.state, board.patience.queue, model, work, self._ahead[model]):
                board.emit(Deny(lease, refused.reason, refused.retry_after_s))
                return
            if not board.is_quiet:  # what a measurement asks for is no queue of anybody's
                board.apply(queued, model, work, board.now.mono_s)
        self._asked[lease] = _Asked(model, work)
        self._ahead[model][work] += 1
        self._waiting.setdefault(model, {})[lease] = work

    def give_back(self, lease: int, device_s: float = 0.0) -> ModelName | None:
        """The lease ends, or nobody waits for it any more; its run took `device_s` of the device, where that is known. One that
        the death of its worker has ended already is not ended again.

        The model that nobody waits for any more because of this, if there is one.
        """
        if lease not in self._asked:
            return None
        model = self._forget(lease)
        if held := self._running.get(model, {}).pop(lease, None):
            self._board.apply(ledger.end_lease, model, held.device, self._board.now.wall_s, held.work)
            if device_s > 0:
                self._board.apply(ran, model, held.device, held.work, device_s)
            return None
        waiting = self._waiting[model]
        del waiting[lease]
        if waiting:
            return None
        del self._waiting[model]
        return model

    def worker_died(self, device: DeviceId) -> None:
        """Forget the leases on a device that has lost its residents. Each is still said to have ended, which must not end a lease
        of whoever has come there since."""
        for running in self._running.values():
            for lease in [lease for lease, held in running.items() if held.device == device]:
                del running[lease]
                self._forget(lease)

    def serve(self, want: Callable[[ModelName], None]) -> None:
        """Grant what can be granted; `want` each model that is neither ready nor on its way."""
        for model in list(self._waiting):
            if self._is_ready(model):
                self._grant(model)
            elif not any(r.stage in ("pending", "loading") for r in self._board.state.of(model)):
                want(model)

    def stop(self, model: ModelName, device: DeviceId, reason: str) -> None:
        """End what runs of the model on the device; each lease ends when its worker has answered."""
        for lease, held in self._running.get(model, {}).items():
            if held.device == device and lease not in self._stopped:
                self._stopped.add(lease)
                self._board.emit(StopRun(lease, reason))

    def deny(self, model: ModelName, reason: str) -> None:
        """Nobody gets this model now."""
        for lease in self._waiting.pop(model, {}):
            self._forget(lease)
            self._board.emit(Deny(lease, reason))

    def _grant(self, model: ModelName) -> None:
        """All that wait for the model run from now on, each on the copy that is expected to answer it first."""
        running = self._running.setdefault(model, {})
        for lease, work in self._waiting.pop(model).items():
            device = self._quickest(model, work)
            self._board.apply(ledger.take_lease, model, device, work)
            running[lease] = _Held(device, work)
            self._board.emit(Grant(lease, device))

    def _forget(self, lease: int) -> ModelName:
        """It neither waits nor runs any more; the model that it was for."""
        asked = self._asked.pop(lease)
        self._stopped.discard(lease)
        ahead = self._ahead[asked.model]
        ahead[asked.work] -= 1
        if not ahead[asked.work]:
            del ahead[asked.work]
        return asked.model

    def _quickest(self, model: ModelName, work: int) -> DeviceId:
        """Of the devices where the model is ready."""
        state = self._board.state
        places = list(state.devices)

        # While a model moves off the CPU it is ready in two places for a moment: the GPU answers sooner. And a copy whose worker
        # does not answer may be the last to do so, however little runs there.
        def rank(resident: Resident) -> tuple[bool, bool, float, int, int]:
            device = resident.device
            unwell = state.devices[device].reading.health != "ok"
            return unwell, device == CPU, answered_s(state, model, device, work), resident.leases, places.index(device)

        ready = [r for r in state.of(model) if r.stage == "ready"]
        return ready[0].device if len(ready) == 1 else min(ready, key=rank).device

    def _is_ready(self, model: ModelName) -> bool:
        """Whether it can be run now; one that drains and was not given up stays for that."""
        residents = self._board.state.of(model)
        if any(r.stage == "ready" for r in residents):
            return True
        leaving = next((r for r in residents if r.stage == "draining" and not r.given_up), None)
        if leaving is None:
            return False
        # A request came in time: the job that drains it learns so from its stage.
        self._board.apply(ledger.rescue, model, leaving.device, self._board.now.wall_s)
        return True
