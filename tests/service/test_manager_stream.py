"""Texts that `GPUManager` gives as they are written: by a served engine, to a script in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

import pytest

from engine.api import CannotServe, EngineAPI, EngineError
from engine.core.names import ModelName
from engine.core.tasks import Continuation, RunEvent, RunResult, Task, TextPart
from engine.manager import GPUManager
from engine.paths import find_paths
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving

WRITER = "phi-3-mini"
_T = TypeVar("_T")


class Saying(ScriptedEngine):
    """Its runs say these parts, and end with this text."""

    def __init__(self, *parts: TextPart, text: str) -> None:
        super().__init__()
        self._said: tuple[RunEvent, ...] = (
            *parts,
            RunResult(WRITER, "cpu", Continuation(text, 3, "eos", prompt_tokens=2), 0.1),
        )

    async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        for event in self._said:
            yield event


class NeverEnding(ScriptedEngine):
    """Its runs write for ever, and tell when somebody has left."""

    def __init__(self) -> None:
        super().__init__()
        self.left = asyncio.Event()

    async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        written = 0
        try:
            while True:
                yield TextPart(written, "é")
                written += 1
                await asyncio.sleep(0)
        finally:
            self.left.set()


async def scripted(engine: EngineAPI, script: Callable[[GPUManager], _T]) -> _T:
    """What a script gets with a manager of the served engine."""

    def run() -> _T:
        with GPUManager() as manager:
            return script(manager)

    async with serving(engine, find_paths(os.environ)):
        return await asyncio.to_thread(run)


async def test_a_text_comes_in_pieces_and_then_whole_with_why_it_ended() -> None:
    def script(manager: GPUManager) -> tuple[list[str], str, str, int]:
        writing = manager.stream(WRITER, "Once", 3)
        pieces = list(writing)
        return pieces, writing.result.text, writing.result.ended, writing.result.prompt_tokens

    parts = TextPart(0, "né"), TextPart(2, "e 🙂"), TextPart(5, "!")
    said = await scripted(Saying(*parts, text="née 🙂! The end"), script)
    assert said == (["né", "e 🙂", "!", " The end"], "née 🙂! The end", "eos", 2)


async def test_a_run_that_begins_anew_and_says_the_same_is_not_noticed() -> None:
    again = TextPart(0, "Once upon"), TextPart(0, "Once"), TextPart(4, " up"), TextPart(7, "on a time")
    assert await scripted(Saying(*again, text="Once upon a time"), lambda m: list(m.stream(WRITER, "x"))) == [
        "Once upon",
        " a time",
    ]


@pytest.mark.parametrize("text", ["Once more", "On", "Twice"])
async def test_a_run_that_begins_anew_and_says_something_else_fails_in_words(text: str) -> None:
    with pytest.raises(EngineError, match=r"begin anew .* wrote something else"):
        await scripted(
            Saying(TextPart(0, "Once upon"), TextPart(0, text), text=text), lambda m: list(m.stream(WRITER, "x"))
        )


async def test_who_leaves_after_two_pieces_ends_the_run() -> None:
    def leave_by_breaking(manager: GPUManager) -> list[str]:
        pieces = []
        for piece in manager.stream(WRITER, "Once"):
            pieces.append(piece)
            if len(pieces) == 2:
                break
        return pieces

    def leave_by_closing(manager: GPUManager) -> list[str]:
        with manager.stream(WRITER, "Once") as writing:
            pieces = [next(writing), next(writing)]
        assert list(writing) == []
        with pytest.raises(EngineError, match="not been iterated to its end"):
            _ = writing.result
        return pieces

    for script in (leave_by_breaking, leave_by_closing):
        engine = NeverEnding()
        async with serving(engine, find_paths(os.environ)):
            with await asyncio.to_thread(GPUManager) as manager:
                assert await asyncio.to_thread(script, manager) == ["é", "é"]
                await engine.left.wait()


async def test_a_manager_that_is_closed_ends_the_texts_that_are_being_written() -> None:
    engine, begun, closed = NeverEnding(), threading.Event(), threading.Event()

    def read(manager: GPUManager) -> None:
        for _piece in manager.stream(WRITER, "Once"):
            begun.set()
            closed.wait()  # what came meanwhile is read to its end

    async with serving(engine, find_paths(os.environ)):
        manager = await asyncio.to_thread(GPUManager)
        reading = asyncio.create_task(asyncio.to_thread(read, manager))
        await asyncio.to_thread(begun.wait)
        await asyncio.to_thread(manager.close)
        closed.set()
        with pytest.raises(EngineError, match=f"the text of {WRITER} ended before it was whole"):
            await reading
        await engine.left.wait()
        with pytest.raises(EngineError, match="this manager was closed"):
            next(manager.stream(WRITER, "Once"))


async def test_what_can_t_be_meant_is_refused_before_anything_runs() -> None:
    with pytest.raises(CannotServe, match="temperature must be 0 or more"):
        await scripted(NeverEnding(), lambda manager: manager.stream(WRITER, "Once", temperature=-1.0))
