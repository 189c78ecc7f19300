"""The page of advice: asks when it is opened, shows how far that is, then what would help. Closing it ends the asking."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from citadel_tui.screens.dialog import Dialog
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.pages.advice import advice_lines, failed_lines, trying_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import Line
from citadel_tui.widgets.choices import Option
from engine.api import EngineError
from engine.core.policy import Policy
from engine.core.state import State
from engine.paths import find_paths
from engine.recording.demand import own_demand
from engine.recording.trace import TraceError
from engine.simulation.advice import Advice, Question, Trying, question
from engine.simulation.adviser import ask_for_advice
from engine.simulation.variants import setup_of

Ask: TypeAlias = Callable[[Callable[[Trying], None]], Awaitable[Advice]]
"""Gives the advice, and says meanwhile how far it is. Raises EngineError."""


class AdvicePage(Dialog[None]):
    """Asks once."""

    def __init__(self, ask: Ask, glyphs: Glyphs) -> None:
        options: tuple[Option[None], ...] = (Option("Close", None),)
        super().__init__("Advice: what would save switching and waiting here", self._lines, options, glyphs)
        self._ask = ask
        self._now: Trying | Advice | None = None
        self._failed = ""

    def on_mount(self) -> None:
        # a worker of this screen: it is cancelled with it
        self.run_worker(self._asked(), name="advice", exit_on_error=False)

    async def _asked(self) -> None:
        try:
            self._show(await self._ask(self._show))
        except EngineError as error:
            self._failed = str(error)
            self._paint()

    def _show(self, now: Trying | Advice) -> None:
        self._now = now
        self._paint()

    def _paint(self) -> None:
        self.page.paint()
        self.call_after_refresh(self.tell_of_more)

    def _lines(self, paper: Paper) -> tuple[Line, ...]:
        if self._failed:
            return failed_lines(self._failed, paper)
        return advice_lines(self._now, paper) if isinstance(self._now, Advice) else trying_lines(self._now, paper)


async def own_advice(state: State, policy: Policy, say: Callable[[Trying], None]) -> Advice:
    """From the engine's own recorded demand. Raises EngineError."""
    return await ask_for_advice(await asyncio.to_thread(_own_question, state, policy), say)


def _own_question(state: State, policy: Policy) -> Question:
    try:
        requests = own_demand(find_paths(os.environ).demand).requests
        models = {request.model for request in requests} & state.models.keys()
        return question(setup_of(state, policy, sorted(models)), requests)
    except TraceError as error:
        raise EngineError(str(error)) from None
    except OSError as error:
        raise EngineError(f"{error.filename} can't be read: {error.strerror}") from None
