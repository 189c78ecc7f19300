"""The console over a recorded session: it shows the past, and its keys steer the time."""

from __future__ import annotations

from functools import partial

import pytest

from citadel_tui.session.app import KEYS, SessionApp
from citadel_tui.session.file import Session
from citadel_tui.session.playback import Playback, RecordedEngine
from citadel_tui.settings.settings import AT_FIRST
from citadel_tui.theme import look_for
from citadel_tui.widgets.strips import StatusLine
from engine.api import EngineAPI
from tests.session.conftest import Clock
from tests.tui.consoles import Console


@pytest.fixture
def playback(session: Session) -> Playback:
    return Playback(session, Clock())


def app_of(playback: Playback) -> SessionApp:
    async def connect() -> EngineAPI:
        return RecordedEngine(playback)

    make = partial(SessionApp, playback=playback)
    return make(connect, look_for({}, "utf-8", AT_FIRST.colours), read_only=True, settings=AT_FIRST)


async def test_keys_pause_seek_and_change_the_speed(playback: Playback) -> None:
    async with app_of(playback).run_test(size=(80, 24)) as pilot:
        await pilot.press("space", "full_stop", "greater_than_sign")
        assert (playback.paused, playback.speed) == (True, 2.0)
        assert playback.now_s() == playback.began_s + 10
        await pilot.press("comma", "space", "less_than_sign")
        assert (playback.paused, playback.speed) == (False, 1.0)
        assert playback.now_s() == playback.began_s


async def test_going_back_shows_the_earlier_state_and_log_again(playback: Playback) -> None:
    playback.seek(11.0)
    app = app_of(playback)
    async with app.run_test(size=(80, 24)) as pilot:
        console = Console(pilot, app)
        await console.sees("bge-base▓")
        await pilot.press("ctrl+left")
        await console.until(lambda: "bge-base▓" not in console.text)
        assert app.link.scene().records == ()
        assert app.link.scene().lost is None


async def test_the_keys_of_the_playback_are_told_whole_on_the_smallest_screen(playback: Playback) -> None:
    app = app_of(playback)
    async with app.run_test(size=(60, 20)) as pilot:
        console = Console(pilot, app)
        await console.sees(KEYS)
        status = app.screen.query_one(StatusLine)
        await console.until(lambda: status.size.height == 1)
        assert status.plain.strip() == f"recorded: {KEYS}"


async def test_the_timeline_knows_the_whole_session_and_shows_it_up_to_the_playback(playback: Playback) -> None:
    playback.pause()
    playback.seek(11.0)
    app = app_of(playback)
    async with app.run_test(size=(80, 24)) as pilot:
        console = Console(pilot, app)
        await console.sees("bge-base▓")
        await pilot.press("w", "left")
        await console.sees("bge-base → gpu0")
        assert app.link.scene().past.until_s > playback.now_s()
        await pilot.press("right", "right")
        await console.sees("bge-base → gpu0")
        playback.seek(-100.0)
        await pilot.press("end", "left")
        await console.until(lambda: "bge-base" not in console.text)
