"""How checks of slabs are begun, stopped and reported, with a scripted RAM tier."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from engine.core.names import ModelName
from engine.runtime.slab_store import in_thread
from engine.runtime.slab_transfers import SlabChecks
from engine.scheduler.messages import Message, SlabVerified
from engine.weights.errors import ReadStopped
from engine.weights.integrity import SlabCondition
from engine.weights.layout import LAYOUT_FILE
from tests.runtime.scripted_workers import ScriptedStore

PATH = "/prepared/a/slab.safetensors"


class LongSlab(ScriptedStore):
    """A RAM tier whose slabs take until they are stopped."""

    def __init__(self) -> None:
        super().__init__({}, {})
        self.begun = asyncio.Event()
        self.thread_has_ended = False

    async def verify(self, model: ModelName, stop: threading.Event) -> SlabCondition:
        self.begun.set()
        return await in_thread(lambda: self._compare(stop), stop)

    def _compare(self, stop: threading.Event) -> SlabCondition:
        stop.wait()
        self.thread_has_ended = True
        raise ReadStopped("taken back")


class FolderedStore(ScriptedStore):
    def __init__(self, folder: Path) -> None:
        super().__init__({}, {})
        self._folder = folder

    def folder(self, model: ModelName) -> Path:
        return self._folder


async def test_what_was_found_is_reported_with_the_file_that_it_is_about() -> None:
    store = ScriptedStore({}, {})
    store.finding = "damaged"
    told: list[Message] = []
    await SlabChecks(store, told.append).verify("a")

    assert told == [SlabVerified("a", "damaged", PATH)]


async def test_a_check_that_is_stopped_says_so() -> None:
    store = LongSlab()
    told: list[Message] = []
    checks = SlabChecks(store, told.append)
    check = asyncio.create_task(checks.verify("a"))
    await store.begun.wait()
    checks.stop("b")
    checks.stop("a")
    await check
    checks.stop("a")

    assert told == [SlabVerified("a", "stopped", PATH)]


async def test_an_engine_that_ends_waits_until_nothing_reads_the_arena_any_more() -> None:
    store = LongSlab()
    told: list[Message] = []
    check = asyncio.create_task(SlabChecks(store, told.append).verify("a"))
    await store.begun.wait()
    check.cancel()

    with pytest.raises(asyncio.CancelledError):
        await check
    assert store.thread_has_ended
    assert not told


async def test_a_damaged_folder_that_can_not_be_marked_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / LAYOUT_FILE).mkdir()
    SlabChecks(FolderedStore(tmp_path), lambda _: None).invalidate("a")

    assert f"{tmp_path} holds a damaged slab and can't be marked so" in caplog.text
