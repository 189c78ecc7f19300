"""Requests that wait for their model, and the leases of those that run on it."""

from __future__ import annotations

from collections.abc import Callable

from engine.core import ledger
from engine.core.forecast.demand import request_came
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.eviction import eviction_policy
from engine.core.state import Resident
from engine.scheduler.board import Board
from engine.scheduler.effects import Deny, Grant, StopRun


class Leases:
    """Grants each lease once and ends it once, also when its worker dies or nobody waits for it any more."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._waiting: dict[int, ModelName] = {}
        self._granted: dict[int, tuple[ModelName, DeviceId]] = {}
        self._stopped: set[int] = set()
        """Leases whose runs were told to end."""

    def ask(self, lease: int, model: ModelName) -> None:
        self._board.apply(eviction_policy(self._board.policy).asked, model)
        self._board.apply(request_came, model, self._board.now.wall_s)
        self._waiting[lease] = model

    def give_back(self, lease: int) -> None:
        """The lease ends. One that the death of its worker has ended already is not ended again."""
        self._waiting.pop(lease, None)
        self._stopped.discard(lease)
        if granted := self._granted.pop(lease, None):
            self._board.apply(ledger.end_lease, *granted)

    def worker_died(self, device: DeviceId) -> None:
        """Forget the leases on a device that has lost its residents. Each is still said to have ended, which must not end a lease
        of whoever has come there since."""
        self._granted = {lease: held for lease, held in self._granted.items() if held[1] != device}

    def serve(self, want: Callable[[ModelName], None]) -> None:
        """Grant what can be granted; `want` each model that is neither ready nor on its way."""
        for lease, model in list(self._waiting.items()):
            if device := self._ready_device(model):
                del self._waiting[lease]
                self._board.apply(ledger.take_lease, model, device)
                self._granted[lease] = (model, device)
                self._board.emit(Grant(lease, device))
            elif not any(r.stage in ("pending", "loading") for r in self._board.state.of(model)):
                want(model)

    def stop(self, model: ModelName, device: DeviceId, reason: str) -> None:
        """End what runs of the model on the device; each lease ends when its worker has answered."""
        for lease, held in self._granted.items():
            if held == (model, device) and lease not in self._stopped:
                self._stopped.add(lease)
                self._board.emit(StopRun(lease, reason))

    def deny(self, model: ModelName, reason: str) -> None:
        """Nobody gets this model now."""
        for lease in [lease for lease, wanted in self._waiting.items() if wanted == model]:
            del self._waiting[lease]
            self._board.emit(Deny(lease, reason))

    def _ready_device(self, model: ModelName) -> DeviceId | None:
        residents = self._board.state.of(model)
        # While a model moves off the CPU it is ready in two places for a moment: the GPU answers sooner.
        if ready := min((r for r in residents if r.stage == "ready"), key=lambda r: r.device == CPU, default=None):
            return ready.device
        leaving = next((r for r in residents if r.stage == "draining" and not r.given_up), None)
        return self._rescued(leaving) if leaving else None

    def _rescued(self, resident: Resident) -> DeviceId:
        """A request came in time: the model stays, and the job that drains it learns so from its stage."""
        self._board.apply(ledger.rescue, resident.model, resident.device, self._board.now.wall_s)
        return resident.device
