"""Ctrl+C while a model works for a command, and text that is passed on as it is written."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest
from msgspec.structs import replace

from engine.core.models import Footprint, ModelSpec
from engine.core.names import ModelName
from engine.core.sizes import MIB
from engine.core.state import ModelState
from engine.core.tasks import Continuation, Generate, RunEvent, RunResult, Task, TaskKind, TextPart
from engine.paths import find_paths
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import scripted_state
from tests.service.serving import serving

JUDGES: dict[ModelName, TaskKind] = {"judge": "rerank", "sorter": "classify"}
COMMANDS = {
    "generate": ("phi-3-mini", "Once"),
    "embed": ("bge-base", "a cat"),
    "rerank": ("judge", "who", "a cat"),
    "classify": ("sorter", "a cat"),
}


class Busy(ScriptedEngine):
    """Its runs go on until they are left; of a text they say the beginning."""

    def __init__(self) -> None:
        state = scripted_state()
        judges = {
            name: ModelState(ModelSpec(name, (f"path:/{name}",), task), Footprint(80 * MIB, 10 * MIB))
            for name, task in JUDGES.items()
        }
        super().__init__(replace(state, models=state.models | judges))
        self.began, self.left = asyncio.Event(), asyncio.Event()

    async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        try:
            if isinstance(task, Generate):
                yield TextPart(0, "Once upon")
            self.began.set()
            await asyncio.Event().wait()
        finally:
            self.left.set()


class Anew(ScriptedEngine):
    """Its runs begin anew, and write `second` then; the first part of it when `read` is set."""

    def __init__(self, second: str) -> None:
        super().__init__()
        self.second = second
        self.read = asyncio.Event()

    async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        yield TextPart(0, "Once\n")
        await self.read.wait()
        yield TextPart(0, self.second[:9])
        yield RunResult(model, "cpu", Continuation(self.second, 3), 0.1)


async def _citadel(*arguments: str) -> Process:
    command = (sys.executable, "-m", "citadel_tui", *arguments)
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)


@pytest.mark.parametrize("command", COMMANDS)
async def test_an_interrupted_command_ends_the_run_and_says_so_in_one_sentence(command: str) -> None:
    engine = Busy()
    async with serving(engine, find_paths(os.environ)):
        process = await _citadel(command, *COMMANDS[command])
        await engine.began.wait()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        await engine.left.wait()
    told = f"citadel: interrupted; what {COMMANDS[command][0]} was asked for is given up\n"
    assert (process.returncode, out, err.decode()) == (130, b"", told)


async def test_a_text_that_is_interrupted_keeps_what_was_written_of_it() -> None:
    engine = Busy()
    async with serving(engine, find_paths(os.environ)):
        process = await _citadel("generate", "phi-3-mini", "Once", "--stream")
        assert process.stdout is not None
        assert await process.stdout.readexactly(9) == b"Once upon"
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out) == (130, b"\n")
    assert err.count(b"\n") == 1


async def test_a_streamed_text_reaches_a_pipe_while_the_model_still_writes() -> None:
    engine = Anew("Once\nupon")
    async with serving(engine, find_paths(os.environ)):
        process = await _citadel("generate", "phi-3-mini", "Once", "--stream")
        assert process.stdout is not None
        assert await process.stdout.readline() == b"Once\n"
        engine.read.set()
        out, _err = await process.communicate()
    assert (process.returncode, out) == (0, b"upon\n")


@pytest.mark.parametrize("second", ["Twice", "On"])
async def test_a_streamed_text_that_became_another_fails_since_a_pipe_takes_nothing_back(second: str) -> None:
    engine = Anew(second)
    async with serving(engine, find_paths(os.environ)):
        process = await _citadel("generate", "phi-3-mini", "Once", "--stream")
        assert process.stdout is not None
        assert await process.stdout.readline() == b"Once\n"
        engine.read.set()
        out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert b"begin anew for want of room" in err


async def test_a_terminal_shows_the_other_text_below_the_first() -> None:
    engine = Anew("Twice upon a time")
    ours, its = pty.openpty()
    async with serving(engine, find_paths(os.environ)):
        command = (sys.executable, "-m", "citadel_tui", "generate", "phi-3-mini", "Once")
        process = await asyncio.create_subprocess_exec(*command, stdout=its, stderr=PIPE)
        shown = await asyncio.to_thread(os.read, ours, 100)
        engine.read.set()
        await process.communicate()
    os.close(its)
    with suppress(OSError):  # a terminal that nobody writes to any more ends with an error
        while more := os.read(ours, 1000):
            shown += more
    os.close(ours)
    assert shown.replace(b"\r", b"") == b"Once\n\n\nTwice upon a time\n"


async def test_whoever_stops_reading_a_streamed_text_ends_the_run() -> None:
    engine = Busy()
    reading, writing = os.pipe()
    os.close(reading)
    async with serving(engine, find_paths(os.environ)):
        command = (sys.executable, "-m", "citadel_tui", "generate", "phi-3-mini", "Once", "--stream")
        process = await asyncio.create_subprocess_exec(*command, stdout=writing, stderr=PIPE)
        os.close(writing)
        _out, err = await process.communicate()
        await engine.left.wait()
    assert (process.returncode, err) == (141, b"")
