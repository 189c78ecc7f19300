"""Notes in the journal of who is resident and pinned, for a restart to restore (`runtime.recall` reads them)."""

from __future__ import annotations

from engine.core.names import DeviceId, ModelName
from engine.core.records import Residency
from engine.core.state import State
from engine.scheduler.board import Board
from engine.scheduler.effects import Write


class ResidencyNotes:
    """One whenever that has changed."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._noted = _residency(board.state)

    def consider(self) -> None:
        """Write it down, if it is not what was written last."""
        residency = _residency(self._board.state)
        if residency != self._noted:
            self._noted = residency
            self._board.emit(Write(Residency(self._board.now.wall_s, *residency)))


def _residency(state: State) -> tuple[tuple[tuple[ModelName, DeviceId], ...], dict[ModelName, DeviceId | None]]:
    ready = tuple((r.model, r.device) for r in state.residents if r.stage in ("ready", "draining"))
    pins = {name: known.pin.device for name, known in state.models.items() if known.pin is not None}
    return ready, pins
