"""Watches for models that chase each other off their devices, and says so once while it lasts."""

from __future__ import annotations

from engine.core.names import ModelName
from engine.core.records import Notice, Switch
from engine.core.insight.thrash import Displacement, displacements, find_thrash, recent
from engine.scheduler.board import Board
from engine.scheduler.effects import Write


class ThrashWatch:
    """An episode begins with the alarm, and ends when none of its models has displaced another for two minutes."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._seen: list[Displacement] = []
        self._told: set[ModelName] = set()

    def switched(self, switch: Switch) -> None:
        """A switch has ended."""
        now_s = self._board.now.wall_s
        self._seen = recent(self._seen, now_s)
        self._told &= {one.mover for one in self._seen}
        self._seen += displacements(switch)
        for alarm in find_thrash(self._board.state, self._seen, now_s):
            if self._told.isdisjoint(alarm.models):
                device = alarm.devices[0] if len(alarm.devices) == 1 else None
                self._board.emit(Write(Notice(now_s, "warning", alarm.text, device)))
            self._told |= set(alarm.models)
