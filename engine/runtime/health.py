"""What the engine holds of its devices' health: workers that come up and die, readings, and who has to come back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from msgspec.structs import replace

from engine.core import ledger
from engine.core.devices import Reading
from engine.core.names import DeviceId, ModelName
from engine.core.records import Notice
from engine.core.state import DeviceState
from engine.runtime.board import Board
from engine.runtime.effects import StartWorker, Write

CRASH_WINDOW_S: Final = 60.0
CRASHES_BEFORE_GIVING_UP: Final = 3
"""So many deaths within the window, and the residents that were there are not brought back: one of them may be the cause."""
LONGEST_DELAY_S: Final = 30.0


class DeviceHealth:
    """A device is `ok` while its worker lives; when it dies, a new one is started and its residents are loaded again."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._deaths: dict[DeviceId, list[float]] = {}
        self._lost: dict[DeviceId, list[ModelName]] = {}

    @property
    def restoring(self) -> bool:
        """Whether residents of a dead worker have yet to come back."""
        return any(self._lost.values())

    def expect_back(self, residents: Iterable[tuple[ModelName, DeviceId]]) -> None:
        """Load these when their devices are up. Models and devices that no longer exist are left out."""
        for model, device in residents:
            if model in self._board.state.models and device in self._board.state.devices:
                self._lost.setdefault(device, []).append(model)

    def worker_up(self, device: DeviceId, pid: int) -> list[ModelName]:
        """The device can be used; the models that its last worker lost."""
        known = replace(self._board.state.devices[device], worker_pid=pid)
        self._put(device, replace(known, reading=Reading("ok", "", 0, 0, at_s=self._board.now.wall_s)))
        lost = [m for m in self._lost.pop(device, []) if not self._board.state.of(m)]
        if self._deaths.get(device):
            again = f"; loading {', '.join(lost)} again" if lost else ""
            self._notice("info", f"the worker of {device} is back{again}", device)
        return lost

    def worker_down(self, device: DeviceId, reason: str) -> None:
        """The device lost its residents. A new worker is started, later the more often that has happened lately."""
        now_s = self._board.now.mono_s
        deaths = [*(t for t in self._deaths.get(device, []) if now_s - t < CRASH_WINDOW_S), now_s]
        self._deaths[device] = deaths
        state = self._board.state
        residents = [r.model for r in state.on(device) if r.stage in ("ready", "draining")]
        self._board.state = ledger.lose_worker(state, device)
        delay_s = 0.0 if len(deaths) == 1 else min(2.0 ** (len(deaths) - 2), LONGEST_DELAY_S)
        text = f"the worker of {device} {reason}"
        if len(deaths) < CRASHES_BEFORE_GIVING_UP:
            self._lost[device] = [*self._lost.get(device, []), *residents]
            fate = f"; {', '.join(residents)} will be loaded again" if residents else ""
        else:
            self._lost.pop(device, None)
            fate = (
                f"; {len(deaths)} deaths within {CRASH_WINDOW_S:.0f} s: its models are not loaded again by themselves"
            )
        self._put(device, replace(self._board.state.devices[device], reading=Reading("starting", text)))
        self._notice("error", text + fate, device)
        self._board.emit(StartWorker(device, delay_s))

    def used(self, device: DeviceId, used_bytes: int) -> None:
        """The device's own figure after a load or an eviction."""
        known = self._board.state.devices[device]
        self.read(device, used_bytes, known.reading.external_bytes or 0)

    def read(self, device: DeviceId, used_bytes: int, external_bytes: int) -> None:
        """A sample. It says nothing about a device whose worker is not up."""
        known = self._board.state.devices[device]
        if known.reading.health == "ok":
            reading = Reading("ok", "", used_bytes, external_bytes, at_s=self._board.now.wall_s)
            self._put(device, replace(known, reading=reading))

    def _put(self, device: DeviceId, known: DeviceState) -> None:
        state = self._board.state
        self._board.state = replace(state, devices={**state.devices, device: known})

    def _notice(self, level: Literal["info", "error"], text: str, device: DeviceId) -> None:
        self._board.emit(Write(Notice(self._board.now.wall_s, level, text, device)))
