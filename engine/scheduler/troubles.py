"""Troubles that last: a notice when one begins, and one when it is over that says what it was and for how long.

One cause is one trouble, whoever suffers from it: when the driver hangs, that is told once, and not for each card. It is over
when the last of them is well again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from engine.core.devices import DRIVER, Reading, past_condition
from engine.core.names import DeviceId
from engine.core.records import Notice
from engine.scheduler.board import Board
from engine.scheduler.effects import Write

Past: TypeAlias = Callable[[str], str]
"""What is told when a trouble is over, given how long it lasted."""


class _Trouble:
    """One that lasts."""

    def __init__(self, since_s: float) -> None:
        self.since_s: Final = since_s
        """On the steady clock."""
        self.who: dict[str, Past] = {}
        """Whoever suffers from it, and what there is to tell once nobody does."""
        self.told: set[str] = set()


class Troubles:
    """Those that last now, by their condition; everybody suffers from one at most."""

    def __init__(self, board: Board) -> None:
        self._board: Final = board
        self._lasting: dict[str, _Trouble] = {}

    def begin(self, who: str, condition: str, text: str, past: Past, device: DeviceId, kind: str = "") -> None:
        """`who` suffers from `condition` from now on. `text` is told, unless one of its `kind` was told of the condition."""
        before = self.of(who)
        if before and before != condition:
            if condition == DRIVER:
                condition = before  # what was wrong before the driver hung is not known to be over
            else:
                self._leave(before, who, device)
        trouble = self._lasting.setdefault(condition, _Trouble(self._board.now.mono_s))
        trouble.who[who] = past
        if (kind or text) not in trouble.told:
            trouble.told.add(kind or text)
            self._write(Notice(self._board.now.wall_s, "error", text, device, condition=condition))

    def end(self, who: str, device: DeviceId, more: str = "") -> bool:
        """`who` is well again. Told, with `more`, if nobody suffers from the same any longer. False if nothing was wrong."""
        if not (condition := self.of(who)):
            return False
        self._leave(condition, who, device, more)
        return True

    def of(self, who: str) -> str:
        """The condition that `who` suffers from; empty for none."""
        return next((condition for condition, trouble in self._lasting.items() if who in trouble.who), "")

    def _leave(self, condition: str, who: str, device: DeviceId, more: str = "") -> None:
        trouble = self._lasting[condition]
        past = trouble.who.pop(who)
        if not trouble.who:
            del self._lasting[condition]
            text = past(f"{self._board.now.mono_s - trouble.since_s:.0f} s") + more
            self._write(Notice(self._board.now.wall_s, "info", text, device, condition=condition, over=True))

    def _write(self, notice: Notice) -> None:
        self._board.emit(Write(notice))


# ── what is told of one that is over ──────────────────────────────────────────────────────────────


def cards_past(lasted: str) -> str:
    return f"the cards can be read again; none could be for {lasted}"


def card_past(device: DeviceId, reading: Reading) -> Past:
    was = past_condition(reading.health)
    return lambda lasted: f"{device} answers again; it {was} for {lasted}"


def silent_past(device: DeviceId) -> Past:
    return lambda lasted: f"{device} answers again; its worker did not for {lasted}"


def death_past(text: str) -> Past:
    return lambda lasted: f"{text}; another one was up after {lasted}"
