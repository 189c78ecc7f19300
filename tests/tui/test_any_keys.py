"""Any keys, clicks and sizes, on an engine that changes meanwhile: nothing breaks, and nothing happens that nobody meant."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Final

import pytest
from textual.events import Key

from citadel_tui.actions import ACTIONS, key_text
from citadel_tui.app import CitadelApp
from citadel_tui.screens.bench import BenchRun
from citadel_tui.screens.dashboard import Dashboard
from citadel_tui.screens.palette import Palette
from citadel_tui.theme import Look
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.widgets.choices import ChoiceBar
from citadel_tui.widgets.strips import FooterKeys, StatusLine
from engine.api import EngineAPI, EngineUnreachable
from tests.tui.auditing_engine import AuditingEngine
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import Clock, Console
from tests.tui.operator_intent import quits, see_click, see_key, under_cursor
from tests.tui.random_events import stir

STEPS: Final = 300
LONGEST: Final = 6
"""So many times as long a walk goes on until something was agreed to: keys meet the engine's changes as they come, so no two
walks of a seed are quite alike."""
SEEDS: Final = (1, 2)
SIZES: Final = ((60, 20), (80, 24), (120, 36), (160, 50), (200, 50))
ACTING: Final = tuple(action.key for action in ACTIONS if action.id not in ("quit", "device", "bench"))
MOVING: Final = ("up", "down", "j", "k", "left", "right", "home", "end", "pageup", "pagedown", "tab", "shift+tab")
TYPED: Final = (*"abdegilmnoprtu1-", "backspace", "colon", "0", "1", "9", "ctrl+p", "ctrl+y", "b", "d", "p")
ENDING: Final = ("enter", "y", "escape")
ROUNDS: Final = 8
DEEP: Final = 12
"""More escapes than there can be things open."""


class Walk:
    """An operator without a plan, and somebody behind who notes what was meant."""

    def __init__(self, console: Console, engine: AuditingEngine, random: Random, clock: Clock) -> None:
        self.done: deque[str] = deque(maxlen=20)
        self._console = console
        self._engine = engine
        self._random = random
        self._clock = clock
        engine.measuring = lambda: any(isinstance(screen, BenchRun) for screen in console.app.screen_stack)

    async def step(self) -> None:
        kind = self._random.random()
        if kind < 0.15:
            stir(self._engine, self._random)
        elif kind < 0.17:
            await self._resize()
        elif kind < 0.27:
            await self._click()
        else:
            await self._press(self._key())
        self._clock.now_s += 0.5
        await self.settle()
        self._check()

    async def back_to_the_dashboard(self) -> None:
        self._engine.stopped = False
        self._engine.release()
        for _ in range(DEEP):
            await self._press("escape")
            await self.settle()
        await self._console.until(lambda: len(self._console.app.screen_stack) == 1)

    async def settle(self) -> None:
        """Each pause is one round of messages; a key takes several from the terminal to its deed."""
        for _ in range(ROUNDS):
            await self._console.pilot.pause(0)

    def _key(self) -> str:
        """On the dashboard any key; in what has opened, as often as not one that ends it."""
        if not isinstance(self._console.app.screen, Dashboard) and self._random.random() < 0.5:
            return self._random.choice(ENDING)
        kind: tuple[str, ...] = self._random.choice((ACTING, MOVING, TYPED, ENDING))
        return self._random.choice(kind)

    async def _press(self, key: str) -> None:
        screen = self._console.app.screen
        if key == "q" or (isinstance(screen, Palette) and key == "enter" and under_cursor(screen).startswith("quit:")):
            return
        self.done.append(f"{key} on {type(screen).__name__}")
        see_key(screen, key, self._engine)
        self._console.app.post_message(Key(key, key_text(key) if len(key_text(key)) == 1 else None))

    async def _click(self) -> None:
        screen = self._console.app.screen
        at = (self._random.randrange(screen.size.width), self._random.randrange(screen.size.height))
        if quits(screen, *at):
            return
        view, _ = screen.get_widget_at(*at)
        # A second click would fall on whatever the first one has opened.
        times = 1 if isinstance(view, FooterKeys | ChoiceBar) else self._random.choice((1, 2))
        self.done.append(f"{times} clicks at {at} on {type(screen).__name__}")
        see_click(screen, *at, self._engine)
        await self._console.pilot.click(offset=at, times=times)

    async def _resize(self) -> None:
        size = self._random.choice(SIZES)
        self.done.append(f"{size[0]}x{size[1]}")
        await self._console.pilot.resize_terminal(*size)

    def _check(self) -> None:
        app = self._console.app
        assert not self._engine.wrongs, f"{self._engine.wrongs} after {list(self.done)}"
        assert isinstance(app.screen_stack[0], Dashboard)
        message = app.screen_stack[0].query_one(StatusLine).message
        assert message is None or " broke: " not in message.text, f"{message} after {list(self.done)}"


async def walked(seed: int, steps: int) -> AuditingEngine:
    """What the engine has to say after so many steps from the busy engine."""
    engine, clock = AuditingEngine(), Clock()
    engine.set_state((await busy_engine(models=8)).state)

    async def connect() -> EngineAPI:
        if engine.stopped:
            raise EngineUnreachable("no engine answers")
        return engine

    app = CitadelApp(connect, Look(UNICODE, "citadel"), read_only=False, now=clock, monotonic=clock)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        console = Console(pilot, app)
        await console.sees("live")
        walk = Walk(console, engine, Random(seed), clock)
        await walk.settle()
        for number in range(LONGEST * steps):
            if number >= steps and engine.agreements and engine.done > 3:
                break
            await walk.step()
        await walk.back_to_the_dashboard()
    return engine


@pytest.mark.parametrize("seed", SEEDS)
async def test_any_keys_break_nothing_and_do_only_what_was_meant_and_agreed_to(seed: int) -> None:
    engine = await walked(seed, STEPS)
    assert engine.done > 3
    assert engine.agreements
