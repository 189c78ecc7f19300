"""The catalog read again while the engine lives, on scripted workers and real files."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from engine.api import Done, EngineError, Recorded, UnknownModel
from engine.clock import SystemClock
from engine.core.catalog import CatalogChange
from engine.core.commands import Evict, Load, Submission
from engine.core.records import Notice
from engine.runtime.catalog_reader import CatalogLook
from engine.runtime.engine import Engine
from engine.runtime.listed_models import READ_S, WATCH_S
from engine.settings import SettingsError
from engine.settings.catalog import CATALOG_FILE
from engine.settings.load import ALLOCATION_FILE
from tests.runtime.live_engines import CONFIG, Listed, scripted_engine

MINILM, PHI, MINE = "all-MiniLM-L6-v2", "phi-3-mini", "mine"
MY_ENTRY = {"name": MINE, "source": "synthetic:e5-small", "task": "embedding", "aliases": ["ada"]}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The shipped configuration, the test's to write."""
    return Path(shutil.copytree(CONFIG, tmp_path / "config"))


def rewrite(config: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Have the catalog's entries changed."""
    written = json.loads((config / CATALOG_FILE).read_text())
    change(written["models"])
    (config / CATALOG_FILE).write_text(json.dumps(written))


def entry_of(models: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in models if entry["name"] == name)


async def notice(engine: Engine, words: str) -> Notice:
    """The next notice with these words, or the one that there is."""
    async for event in engine.events(after=0):
        if isinstance(event, Recorded) and isinstance(event.record.entry, Notice) and words in event.record.entry.text:
            return event.record.entry
    raise AssertionError("events do not end")


async def test_a_model_of_ones_own_serves_without_a_restart_and_beside_residents(tmp_path: Path, config: Path) -> None:
    async with scripted_engine(tmp_path, config=config) as box:
        await box.engine.submit(Submission("1", Load(MINILM, "gpu0")))
        rewrite(config, lambda models: models.append(MY_ENTRY))

        assert await box.engine.reload() == CatalogChange(added=(MINE,))

        await box.engine.embed("ada", ["a"])
        assert MINE in (await box.engine.snapshot()).requests
        assert [bind.model for bind in box.spawner.workers["gpu0"].binds].count(MINILM) == 1
        assert (await box.engine.snapshot()).state.find(MINILM, "gpu0")
        assert (await notice(box.engine, "read again")).text == "the catalog was read again: added mine"


async def test_a_model_that_went_is_unknown_and_forgotten(tmp_path: Path, config: Path) -> None:
    async with scripted_engine(tmp_path, config=config) as box:
        rewrite(config, lambda models: models.append(MY_ENTRY))
        await box.engine.reload()
        await box.engine.embed(MINE, ["a"])
        rewrite(config, lambda models: models.pop())

        assert await box.engine.reload() == CatalogChange(leaving=(MINE,))

        assert isinstance(await box.engine.submit(Submission("1", Evict(MINE))), Done)
        with pytest.raises(UnknownModel, match="no model is named mine"):
            await box.engine.embed(MINE, ["a"])
        assert MINE not in (await box.engine.snapshot()).requests
        await box.engine.stop()
        assert MINE not in box.footprints.kept_rates


async def test_a_model_that_is_to_be_loaded_ahead_is(tmp_path: Path, config: Path) -> None:
    async with scripted_engine(tmp_path, config=config) as box:
        rewrite(config, lambda models: models.append({**MY_ENTRY, "preload": True}))
        await box.engine.reload()

        async for _ in box.engine.events():
            if any(r.model == MINE and r.stage == "ready" for r in (await box.engine.snapshot()).state.residents):
                break


async def test_new_limits_of_a_resident_hold_from_its_next_load_on(tmp_path: Path, config: Path) -> None:
    async with scripted_engine(tmp_path, config=config) as box:
        await box.engine.submit(Submission("1", Load(PHI, "cpu")))
        rewrite(config, lambda models: entry_of(models, PHI).update(limits={"max_batch": 1, "max_sequence": 64}))

        assert await box.engine.reload() == CatalogChange(later=(PHI,))

        for command in (Evict(PHI), Load(PHI, "cpu")):
            await box.engine.submit(Submission(str(command), command))
        assert [bind.limits.max_sequence for bind in box.spawner.workers["cpu"].binds] == [256, 64]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{", "not JSON in line 1"),
        ('{"models": [{"name": "a", "source": "path:/x", "task": "embeding"}]}', "one of embedding, generation"),
    ],
)
async def test_a_file_with_mistakes_is_refused_and_nothing_has_changed(
    tmp_path: Path, config: Path, written: str, words: str
) -> None:
    async with scripted_engine(tmp_path, config=config) as box:
        before = (await box.engine.snapshot()).state.models
        (config / CATALOG_FILE).write_text(written)

        with pytest.raises(SettingsError, match=words):
            await box.engine.reload()

        assert (await box.engine.snapshot()).state.models == before


async def test_what_only_a_restart_reads_is_said(tmp_path: Path, config: Path) -> None:
    async with scripted_engine(tmp_path, config=config) as box:
        written = (config / ALLOCATION_FILE).read_text()
        (config / ALLOCATION_FILE).write_text(
            written.replace("restore_after_restart: true", "restore_after_restart: false")
        )

        change = await box.engine.reload()

        assert change.is_empty
        assert change.remarks == (
            "gpu_allocation.yaml has changed in restore_after_restart, which is read when the engine starts",
        )


class WatchingClock(SystemClock):
    """Counts the looks at the files, each of which the test allows."""

    def __init__(self) -> None:
        self.may_look = asyncio.Semaphore(0)
        self.has_looked = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds == WATCH_S:
            self.has_looked.set()
        await (self.may_look.acquire() if seconds == WATCH_S else super().sleep(seconds))


async def test_a_change_that_nobody_told_of_is_told_once_and_not_while_it_is_being_written(
    tmp_path: Path, config: Path
) -> None:
    clock = WatchingClock()
    async with scripted_engine(tmp_path, engine_clock=clock, config=config) as box:
        await clock.has_looked.wait()
        rewrite(config, lambda models: models.append(MY_ENTRY))
        for _ in range(5):
            clock.may_look.release()
        told = await notice(box.engine, "model_gpu_mapping.json has changed")

        assert told.text.endswith("`citadel models reload` takes it up, and so does the signal HUP")
        await box.engine.reload()
        texts = [r.entry.text for r in await box.engine.records() if isinstance(r.entry, Notice)]
        assert len([text for text in texts if "has changed" in text]) == 1


class HastyReader(SystemClock):
    """Nobody waits for files while `is_hasty`, once a reading has begun: one that has not would be called off, and never end."""

    def __init__(self) -> None:
        self.is_hasty = False
        self.has_begun = threading.Event()

    async def sleep(self, seconds: float) -> None:
        if self.is_hasty and seconds == READ_S:
            await asyncio.to_thread(self.has_begun.wait)
        else:
            await super().sleep(seconds)


async def test_files_that_do_not_answer_change_nothing_even_when_they_do_later(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, may_end, has_ended = HastyReader(), threading.Event(), threading.Event()
    read = Listed.read

    def slow(self: Listed, troubled: Collection[str]) -> CatalogLook:
        clock.has_begun.set()
        may_end.wait()
        try:
            return read(self, troubled)
        finally:
            has_ended.set()

    async with scripted_engine(tmp_path, engine_clock=clock, config=config) as box:
        rewrite(config, lambda models: models.append(MY_ENTRY))
        with monkeypatch.context() as patch:
            patch.setattr(Listed, "read", slow)
            clock.is_hasty = True
            with pytest.raises(EngineError, match="did not answer within 60 s; nothing was changed"):
                await box.engine.reload()
            may_end.set()
            await asyncio.to_thread(has_ended.wait)

        clock.is_hasty = False
        assert await box.engine.reload() == CatalogChange(added=(MINE,))


async def test_an_engine_that_ends_meanwhile_keeps_nobody_waiting(tmp_path: Path, config: Path) -> None:
    async with scripted_engine(tmp_path, config=config) as box:
        await box.engine.stop()
        with pytest.raises(EngineError, match="the engine has stopped"):
            await box.engine.reload()
