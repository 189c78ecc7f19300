"""Reading ahead: into free room of the RAM tier, while nothing else is under way; any command comes first."""

from __future__ import annotations

from typing import Final

from engine.core.names import ModelName
from engine.core.readahead import wanted_next
from engine.scheduler.board import Board
from engine.scheduler.slab_flow import begin_reading, stop_reading


class Readahead:
    """One slab at a time."""

    def __init__(self, board: Board) -> None:
        self._board: Final = board
        self._reading: ModelName | None = None
        self._stopping = False
        self._unreadable: Final[set[ModelName]] = set()
        """Failed to be read ahead; a load will say why."""

    def ended(self, model: ModelName) -> None:
        """The reading of a slab has ended well, whoever wanted it."""
        self._unreadable.discard(model)
        self._forget(model)

    def failed(self, model: ModelName, *, for_good: bool) -> None:
        """It has not; nor will it by itself, if that is `for_good`."""
        if for_good and model == self._reading:
            self._unreadable.add(model)
        self._forget(model)

    def consider(self, jobs: int) -> None:
        """Begin the next reading when nothing is under way, and give up one that no job waits for when something is."""
        board = self._board
        busy = jobs > 0 or board.is_quiet
        if self._reading is None and not busy:
            self._reading = wanted_next(board.state, self._unreadable)
            if self._reading is not None:
                begin_reading(board, self._reading)
        elif self._reading is not None and busy and not self._stopping and not board.state.of(self._reading):
            self._stopping = True
            stop_reading(board, self._reading)

    def _forget(self, model: ModelName) -> None:
        if model == self._reading:
            self._reading = None
            self._stopping = False
