"""The benchmark, the first start, and a recorded session, as pictures at the sizes that operators have."""

from __future__ import annotations

from functools import partial

import pytest
from textual.pilot import Pilot

from citadel_tui.app import CitadelApp
from citadel_tui.screens.bench import BenchCompared, BenchRun
from citadel_tui.session.app import SessionApp
from citadel_tui.session.file import Session
from citadel_tui.session.playback import Playback, RecordedEngine
from citadel_tui.settings.settings import AT_FIRST
from citadel_tui.theme import Look
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from engine.api import EngineAPI
from engine.bench.compare import compare_runs
from engine.bench.measure import Progress
from engine.bench.records import BenchSubject
from tests.bench.runs import run_of, series
from tests.scripted_engine import ScriptedEngine
from tests.session.conftest import Clock, file, session
from tests.snapshots.test_screens import SIZES, Compare, Steps, compare
from tests.tui.consoles import NOON_S, Console
from tests.tui.test_benchmark import choose

__all__ = ["file", "session"]
BY_SIZE = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


async def choice(console: Console, engine: ScriptedEngine) -> None:
    await choose(console)


async def consent(console: Console, engine: ScriptedEngine) -> None:
    await choose(console)
    await console.press("enter")
    await console.sees("[Cancel]")


async def why(console: Console, engine: ScriptedEngine) -> None:
    await console.select("bge-base")
    await console.press("enter")
    await console.sees("Why")
    for _ in range(2):
        await console.press("space")


@BY_SIZE
@pytest.mark.parametrize("steps", [choice, consent, why])
def test_a_screen_looks_as_it_did(snap_compare: Compare, steps: Steps, size: tuple[int, int]) -> None:
    assert compare(snap_compare, steps, size, Look(UNICODE, "citadel"))


def test_the_choice_in_ascii_looks_as_it_did(snap_compare: Compare) -> None:
    assert compare(snap_compare, choice, (80, 24), Look(ASCII, "citadel-ansi"))


@BY_SIZE
def test_a_benchmark_under_way_looks_as_it_did(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def steps(console: Console, engine: ScriptedEngine) -> None:
        screen = BenchRun(4, lambda: None, UNICODE)
        screen.measured(series("bge-base", [0.20, 0.21, 0.22]))
        screen.progress(Progress(BenchSubject("phi-3-mini", "gpu0", "ram"), "6 of 7", (1.2, 1.21, 1.22, 1.22, 1.3)))
        console.app.push_screen(screen)
        await console.sees("repeat 6 of 7")

    assert compare(snap_compare, steps, size, Look(UNICODE, "citadel"))


@BY_SIZE
def test_two_runs_side_by_side_look_as_they_did(snap_compare: Compare, size: tuple[int, int]) -> None:
    one = run_of(series("bge-base", [0.20, 0.21, 0.22]), series("phi-3-mini", [1.2, 1.3, 1.25]))
    other = run_of(series("bge-base", [0.30, 0.31, 0.32]), series("e5-small", [0.1, 0.1, 0.1]))

    async def steps(console: Console, engine: ScriptedEngine) -> None:
        console.app.push_screen(BenchCompared("20261123-140000", compare_runs(one, other), UNICODE))
        await console.sees("SLOWER")

    assert compare(snap_compare, steps, size, Look(UNICODE, "citadel"))


@BY_SIZE
def test_the_first_start_looks_as_it_did(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def connect() -> EngineAPI:
        return ScriptedEngine()

    app = CitadelApp(
        connect, Look(UNICODE, "citadel"), read_only=False, first=True, now=lambda: NOON_S, monotonic=lambda: NOON_S
    )

    async def before(pilot: Pilot[int]) -> None:
        await Console(pilot, app).sees("up and down choose")
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=before)


@BY_SIZE
def test_a_recorded_session_looks_as_it_did(snap_compare: Compare, session: Session, size: tuple[int, int]) -> None:
    playback = Playback(session, Clock())
    playback.seek(11.0)

    async def connect() -> EngineAPI:
        return RecordedEngine(playback)

    make = partial(SessionApp, playback=playback)
    app = make(connect, Look(UNICODE, "citadel"), read_only=True, settings=AT_FIRST)

    async def before(pilot: Pilot[int]) -> None:
        console = Console(pilot, app)
        await console.sees("recorded: ")
        await console.sees("bge-base▓")
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=before)
