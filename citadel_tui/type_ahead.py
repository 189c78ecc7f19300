"""Keys and pasted text are handed on one by one, the next once everything that the one before set in motion is done, unless that
one only moves about in a list or is text in a line.

Textual hands a key to whatever has the focus when it arrives, and the page that the key before opens has it only later. Of `l`
and enter in one read, as a slow line delivers them, both would go to the dashboard, and a model's page would open over the
question where to load.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

from textual import events
from textual.app import App
from textual.screen import Screen

from citadel_tui.flow import StatusMessage

PATIENCE_S: Final = 2.0
"""How long keys wait for the engine's answer that a page is made of."""
_TURNS: Final = 3
"""Turns of the loop without anything to do: what a message starts begins with the next turn."""

Typed: TypeAlias = events.Key | events.Paste


class TypeAhead:
    """The keys that wait."""

    def __init__(
        self, app: App[int], hand_on: Callable[[Typed], Awaitable[None]], say: Callable[[StatusMessage], None]
    ) -> None:
        self._app: Final = app
        self._hand_on: Final = hand_on
        self._say: Final = say
        self._waiting: deque[Typed] = deque()
        self._due: set[object] = set()
        """One for each page that the engine was asked about."""
        self._changed = asyncio.Event()

    def add(self, typed: Typed) -> None:
        self._waiting.append(typed)
        self._changed.set()

    def drop(self) -> int:
        """Forget what waits; how much that was."""
        count = len(self._waiting)
        self._waiting.clear()
        return count

    @contextmanager
    def page_due(self) -> Iterator[None]:
        """Keys wait while inside, for the page that comes of what is asked there."""
        page = object()
        self._due.add(page)
        try:
            yield
        finally:
            self._due.discard(page)
            self._changed.set()

    async def run(self) -> None:
        """Hand on what comes, as long as there is a screen."""
        while self._top is not None:
            await self._until(lambda: bool(self._waiting))
            if self._waiting and self._top is not None:
                typed = self._waiting.popleft()
                stays = self._stays(typed)
                await self._hand_on(typed)
                if not stays:
                    await self._settle()

    def _stays(self, typed: Typed) -> bool:
        """Whether it is for the widget that has the focus alone, as what moves about in a list: nothing follows from that."""
        focused = self._app.focused
        return (
            isinstance(typed, events.Key)
            and focused is not None
            and focused.check_consume_key(typed.key, typed.character)
        )

    @property
    def _top(self) -> Screen[object] | None:
        """The screen that has the keys; none is left when the console ends."""
        stack = self._app.screen_stack
        return stack[-1] if stack else None

    async def _settle(self) -> None:
        """Until nothing follows from the key any more, and the page that it has opened has the focus."""
        settled = False
        while not settled and (screen := self._top) is not None:
            await self._worked_off(screen)
            settled = not self._due and self._top is screen
            if self._due and not await self._answered():
                return

    async def _worked_off(self, screen: Screen[object]) -> None:
        """Messages go from the widget that has the focus up to the app, which looks up what a key is bound to; what that sends
        goes the same way. So all of it has been done when nobody on that way has anything to do."""
        quiet = 0
        while quiet < _TURNS and self._top is screen:
            await asyncio.sleep(0)
            way = (screen.focused or screen).ancestors_with_self
            quiet = 0 if any(pump.message_queue_size for pump in way) else quiet + 1

    async def _answered(self) -> bool:
        """Whether what the next page is made of came in time."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._until(lambda: not self._due)
        except TimeoutError:
            self._give_up()
            return False
        return True

    async def _until(self, met: Callable[[], bool]) -> None:
        while not met():
            self._changed.clear()
            await self._changed.wait()

    def _give_up(self) -> None:
        """What was typed for a page must not act elsewhere, and must not wait for ever."""
        self._due.clear()
        if count := self.drop():
            keys = "1 key that was typed ahead is" if count == 1 else f"{count} keys that were typed ahead are"
            self._say(StatusMessage(f"{keys} left out: the engine has not answered yet", "warn"))
