"""The benchmark in the console: chosen, agreed to, watched, stopped, saved, and held against an earlier run."""

from __future__ import annotations

from pathlib import Path

import msgspec

from citadel_tui.bench.files import kept_runs
from engine.api import Answer
from engine.bench.records import BenchResult
from engine.core.commands import Submission
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import Console, Line, open_console


def places(engine: ScriptedEngine) -> dict[str, str]:
    return {resident.model: resident.device for resident in engine.state.residents}


def runs(home: Path) -> list[Path]:
    return kept_runs(home / "state" / "bench")


async def choose(console: Console, model: str = "bge-base") -> None:
    """Opens the choice for one model on gpu0."""
    await console.select(model)
    await console.press("b")
    await console.sees("Benchmark: how long switches take")
    await console.until(lambda: "2 series" in console.text)


async def tick(console: Console, text: str) -> None:
    """Turns the tick of the line that has `text`."""
    await console.press("home")
    lines = [line for line in console.text.splitlines() if "[ ]" in line or "[x]" in line]
    for _ in range(next(at for at, line in enumerate(lines) if text in line)):
        await console.press("down")
    await console.press("space")


async def test_the_selected_model_is_ticked_and_ticks_decide_what_is_measured() -> None:
    async with open_console(await busy_engine()) as console:
        await choose(console)
        assert "[x] ≈bge-base" in console.text
        assert "[ ] all-MiniLM-L6-v2" in console.text
        await console.press("a")
        await console.sees("8 series, each 7 times")
        await console.press("end", "right")
        await console.sees("8 series, each 15 times")
        await console.press("home", "a", "a", "a")
        await console.sees("tick a model")
        await console.press("enter")
        await console.sees("tick a model")


async def test_marked_models_are_ticked() -> None:
    async with open_console(await busy_engine()) as console:
        for model in ("bge-base", "e5-small"):
            await console.select(model)
            await console.press("space")
        await console.press("b")
        await console.sees("4 series")
        assert "[x] ≈e5-small" in console.text


async def test_pairs_are_measured_every_model_out_for_every_other(citadel_home: Path) -> None:
    engine = await busy_engine()
    before = places(engine)
    async with open_console(engine) as console:
        await choose(console)
        await tick(console, "every model out for every other")
        await console.sees("tick a second model: a pair takes two")
        await console.press("enter")
        await console.sees("tick a second model")
        await tick(console, "e5-small")
        await console.sees("4 series, each 7 times")
        await tick(console, "gpu1")
        await console.sees("2 series, each 7 times")
        await console.press("enter")
        await console.sees("[Cancel]")
        await console.press("y")
        await console.sees("bge-base gpu0 ram, for e5-small")
        await console.sees("saved in")
        assert places(engine) == before
    found = msgspec.json.decode(runs(citadel_home)[0].read_bytes(), type=BenchResult)
    pairs = [(series.subject.leaving, series.subject.model) for series in found.series]
    assert sorted(pairs) == [("bge-base", "e5-small"), ("e5-small", "bge-base")]


async def test_who_has_to_leave_is_named_and_nothing_happens_without_a_yes() -> None:
    engine = await busy_engine()
    before = len(engine.submissions)
    async with open_console(engine) as console:
        await choose(console)
        await console.press("enter")
        await console.sees("phi-3-mini leaves gpu0")
        assert "[Cancel]" in console.text
        await console.press("enter")
        await console.sees("nothing was done")
    assert len(engine.submissions) == before


async def test_a_run_is_shown_saved_and_everything_is_put_back(citadel_home: Path) -> None:
    engine = await busy_engine()
    before = places(engine)
    async with open_console(engine) as console:
        await choose(console)
        await console.press("enter")
        await console.sees("[Cancel]")
        await console.press("y")
        await console.sees("≈bge-base gpu0 ram")
        await console.sees("saved in")
        assert "400.0" in console.text
        assert places(engine) == before
    found = msgspec.json.decode(runs(citadel_home)[0].read_bytes(), type=BenchResult)
    assert [len(series.seconds) for series in found.series] == [7]
    assert {submission.origin for submission in engine.submissions[5:]} == {"trial"}


async def test_a_later_run_is_held_against_an_earlier_one() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        for _ in range(2):
            await choose(console)
            await console.press("enter")
            await console.sees("[Cancel]")
            await console.press("y")
            await console.sees("saved in")
            await console.press("c")
            await console.until(lambda: "saved in" not in console.text)
        await console.sees("1 series: bge-base")
        await console.press("enter")
        await console.sees("Since the run of")
        await console.sees("+0.0%")
        assert "ok, 95 % between" in console.text


async def test_a_file_among_the_runs_that_is_none_is_said_so(citadel_home: Path) -> None:
    folder = citadel_home / "state" / "bench"
    folder.mkdir(parents=True)
    (folder / "notes.json").write_text("{}")
    async with open_console(await busy_engine()) as console:
        await choose(console)
        await console.press("enter")
        await console.sees("[Cancel]")
        await console.press("y")
        await console.sees("saved in")
        await console.press("c")
        await console.sees("notes.json is not a file")


async def test_somebody_elses_benchmark_is_said_at_the_top() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await engine.keep_quiet(15)
        await console.sees("benchmark: sampling every 10 s")
        await engine.keep_quiet(0)
        await console.until(lambda: "sampling every" not in console.text)


class Slow(ScriptedEngine):
    """Holds its loads from its fifth submission on."""

    async def submit(self, submission: Submission) -> Answer:
        if len(self.submissions) == 5:
            self.hold()
        return await super().submit(submission)


async def measuring(console: Console, engine: ScriptedEngine) -> None:
    """Waits until a load of the benchmark is under way, and held."""
    await choose(console)
    await console.press("enter")
    await console.sees("[Cancel]")
    await console.press("y")
    await console.until(lambda: len(engine.submissions) > 5 and engine.jobs)


async def test_stopping_takes_the_load_back_and_puts_everything_back_however_often_it_is_asked_for() -> None:
    engine = Slow((await busy_engine()).state)
    before = places(engine)
    async with open_console(engine) as console:
        await measuring(console, engine)
        await console.press("escape")
        await console.sees("stopping, and putting everything back")
        await console.press("escape", "q", "enter")
        engine.release()
        await console.sees("it ended after 0 of 2 series")
        await console.sees("nothing was measured, and nothing is saved")
    assert places(engine) == before


async def test_leaving_the_console_puts_everything_back_first() -> None:
    engine = Slow((await busy_engine()).state)
    before = places(engine)
    async with open_console(engine) as console:
        await measuring(console, engine)
        await console.press("ctrl+q")
        await console.sees("stopping, and putting everything back")
        assert console.app.is_running
        engine.release()
        await console.until(lambda: not console.app.is_running)
    assert places(engine) == before


async def test_a_lost_line_ends_the_benchmark_with_the_reason() -> None:
    engine = await busy_engine()
    line = Line(engine)
    async with open_console(engine, line=line) as console:
        await choose(console)
        await console.press("enter")
        await console.sees("[Cancel]")
        engine.hold()
        await console.press("y")
        await console.until(lambda: engine.jobs)
        line.up = False
        await engine.stop()
        engine.release()
        await console.sees("the engine was stopped")


async def test_a_read_only_console_measures_nothing() -> None:
    async with open_console(await busy_engine(), read_only=True) as console:
        await console.press("b")
        await console.sees("Bench: this console is read-only")
