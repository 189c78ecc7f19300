"""The way of a benchmark in the console: chosen, agreed to, watched, saved, and held against an earlier one.

Screens are imported when they are first needed. It runs in a worker of the app; whatever ends it, everything is put back.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from textual.app import App

from citadel_tui.bench.files import keep_run, kept_runs, saved_run
from citadel_tui.dated_files import told
from citadel_tui.flow import StatusMessage
from citadel_tui.link import Link
from citadel_tui.verbs import Models
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.pages.bench import BenchPlan, choice_for, run_title
from engine.api import EngineAPI, EngineError, Snapshot
from engine.bench.compare import compare_runs
from engine.bench.measure import Schedule
from engine.bench.records import BenchResult, BenchSubject
from engine.bench.run import loads_of, measure_all, run_of, subjects_of, touched
from engine.core.state import Resident
from engine.paths import find_paths

if TYPE_CHECKING:
    from citadel_tui.screens.bench import BenchRun


class _Asked(Struct, frozen=True):
    """A benchmark as it was chosen, and how things stood then."""

    version: str
    """The engine's."""
    before: Snapshot
    subjects: tuple[BenchSubject, ...]
    leaving: tuple[Resident, ...]
    how: Schedule


class _UnderWay(NamedTuple):
    measuring: asyncio.Task[None]
    watcher: BenchRun


async def _asked(engine: EngineAPI, choice: BenchPlan) -> _Asked:
    before = await engine.snapshot()
    subjects = subjects_of(before.state, choice.what)
    leaving = await touched(engine, before.state, loads_of(subjects))
    return _Asked((await engine.hello()).version, before, subjects, tuple(leaving), choice.how)


class Benchmark:
    """One at a time."""

    def __init__(
        self,
        app: App[int],
        link: Link,
        say: Callable[[StatusMessage], None],
        glyphs: Glyphs,
        page_due: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """`page_due`: within it the engine is asked for what a page is made of."""
        self._page_due = page_due
        self._app = app
        self._link = link
        self._say = say
        self._glyphs = glyphs
        self._under_way: _UnderWay | None = None

    async def run(self, models: Models) -> None:
        """From the choice, with `models` ticked, to the comparison; says what can't be done, in words."""
        try:
            await self._from_the_choice(models)
        except EngineError as error:
            self._say(StatusMessage(str(error), "bad"))

    async def stop(self) -> None:
        """End what is being measured; returns when everything is back where it was."""
        if self._under_way is not None:
            self._cancel()
            await asyncio.wait([self._under_way.measuring])

    def _cancel(self) -> None:
        """Not while everything is put back, which must not be cut short."""
        if self._under_way is not None and not self._under_way.watcher.ending:
            self._under_way.watcher.stopping()
            self._under_way.measuring.cancel()

    async def _from_the_choice(self, models: Models) -> None:
        from citadel_tui.screens.bench import BenchChoice

        engine = self._link.engine
        with self._page_due():
            before = await engine.snapshot()
        choice = await self._app.push_screen_wait(BenchChoice(choice_for(before.state, models), self._glyphs))
        if choice is None:
            return
        with self._page_due():
            asked = await _asked(engine, choice)
        if asked.leaving and not await self._agreed(asked.leaving):
            self._say(StatusMessage("Bench: nothing was done"))
            return
        watched = await self._measured(engine, asked)
        after = self._link.scene().snapshot or asked.before
        found = run_of(asked.version, asked.before, after, asked.how.warm_up, watched.sample_s, watched.results)
        await self._show(found, len(asked.subjects), watched)

    async def _agreed(self, leaving: tuple[Resident, ...]) -> bool:
        from citadel_tui.screens.bench import BenchConsent

        agreed: bool | None = await self._app.push_screen_wait(BenchConsent(leaving, self._glyphs))
        return agreed is True

    async def _measured(self, engine: EngineAPI, asked: _Asked) -> BenchRun:
        """What was found until it ended, was stopped, or broke."""
        from citadel_tui.screens.bench import BenchRun

        watcher = BenchRun(len(asked.subjects), self._cancel, self._glyphs)
        await self._app.push_screen(watcher)
        cache = find_paths(os.environ).cache
        measuring = asyncio.create_task(
            measure_all(engine, asked.before.state, asked.subjects, asked.leaving, asked.how, cache, watcher)
        )
        self._under_way = _UnderWay(measuring, watcher)
        try:
            # Not awaited directly: stopping the measurement must not look like the end of this worker.
            await asyncio.wait([measuring])
            if not measuring.cancelled() and (error := measuring.exception()):
                watcher.broke(error)
        finally:
            self._under_way = None
            watcher.dismiss()
        return watcher

    async def _show(self, found: BenchResult, asked: int, watched: BenchRun) -> None:
        from citadel_tui.screens.bench import BenchResults

        path, saved = _saved(found)
        ended = len(watched.results)
        said = [saved, *watched.troubles]
        if ended < asked:
            said.insert(0, f"it ended after {ended} of {asked} series")
        if await self._app.push_screen_wait(BenchResults(watched.results, said, self._glyphs)):
            await self._compare(found, path)

    async def _compare(self, found: BenchResult, path: Path | None) -> None:
        from citadel_tui.screens.bench import BenchCompared, EarlierRuns

        runs = {earlier: run for earlier, run in _runs() if earlier != path}
        if not runs:
            self._say(StatusMessage("Bench: there is no earlier run to compare with"))
            return
        known = [(path, run if isinstance(run, str) else run_title(run)) for path, run in runs.items()]
        picked = await self._app.push_screen_wait(EarlierRuns(known, self._glyphs))
        if picked is None:
            return
        earlier = runs[picked]
        if isinstance(earlier, str):
            self._say(StatusMessage(earlier, "bad"))
            return
        await self._app.push_screen_wait(BenchCompared(picked.stem, compare_runs(earlier, found), self._glyphs))


def _saved(found: BenchResult) -> tuple[Path | None, str]:
    """Where, in words too, or why not; nothing of a run that has no figures."""
    if not found.series:
        return None, "nothing was measured, and nothing is saved"
    try:
        path = keep_run(found, find_paths(os.environ).bench)
    except EngineError as error:
        return None, str(error)
    return path, f"saved in {told(path, os.environ.get('HOME'))}"


def _runs() -> Iterator[tuple[Path, BenchResult | str]]:
    """Saved runs, newest first; what is no run, with the reason."""
    for path in kept_runs(find_paths(os.environ).bench):
        try:
            yield path, saved_run(path)
        except EngineError as error:
            yield path, str(error)
