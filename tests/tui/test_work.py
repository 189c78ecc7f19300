"""How much the console does for what it shows: counted, since a machine's speed says nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from textual.css.stylesheet import Stylesheet

from citadel_tui.app import CitadelApp
from citadel_tui.screens.dashboard import Dashboard
from citadel_tui.type_ahead import TypeAhead
from citadel_tui.widgets import bars
from citadel_tui.widgets.lines import LineView
from citadel_tui.widgets.strips import HeaderLine
from tests.pty.moving_figures import moved
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import open_console
from tests.tui.test_typing_ahead import burst


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str], Counter[str]]:
    """Counts the calls of a method from now on, under its name."""
    counted: Counter[str] = Counter()

    def count(owner: type, name: str) -> Counter[str]:
        method = getattr(owner, name)

        def called(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the method takes and gives
            counted[name] += 1
            return method(*arguments, **named)

        monkeypatch.setattr(owner, name, called)
        return counted

    return count


async def test_styles_are_worked_out_for_each_view_and_not_for_all_roles_of_each(
    calls: Callable[[type, str], Counter[str]],
) -> None:
    counted = calls(Stylesheet, "apply")
    async with open_console(await busy_engine()):
        assert counted["apply"] < 400


async def test_what_was_shown_within_the_second_is_not_worked_out_again_for_the_clock(
    calls: Callable[[type, str], Counter[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CitadelApp, "set_timer", lambda *_: None)  # the test is the clock
    engine = await busy_engine()
    async with open_console(engine) as console:
        console.app._tick()
        counted = calls(Dashboard, "show_scene")
        calls(HeaderLine, "lines_for")
        engine.set_state(moved(engine.state, 1))
        await console.until(lambda: counted["show_scene"])
        before = counted.copy()
        console.app._tick()
        assert counted - before == Counter(lines_for=1)
        console.app._tick()
        assert counted - before == Counter(lines_for=2, show_scene=1)


async def test_other_programs_are_looked_for_once_a_scene_and_a_views_screen_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = Mock(return_value=[])
    monkeypatch.setattr(bars, "programs", looked)
    async with open_console(await busy_engine(), size=(160, 50)) as console:
        console.app._show()
        looked.reset_mock()
        console.app._show()
        assert looked.call_count == 1
        views = list(console.app.query(LineView))
        before = [view.look_of("dim") for view in views]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(LineView, "screen", None)
            assert [view.look_of("dim") for view in views] == before


async def test_a_key_that_only_moves_about_is_waited_for_by_none(calls: Callable[[type, str], Counter[str]]) -> None:
    counted = calls(TypeAhead, "_settle")
    async with open_console(await busy_engine()) as console:
        burst(console, "↓jk" * 100 + "?")
        await console.until(lambda: len(console.app.screen_stack) == 2)
        assert counted["_settle"] == 1
        assert console.selected is not None
