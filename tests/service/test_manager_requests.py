"""What scripts ask `GPUManager` for, and from where: mistakes are told in words, and reach no worker."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest

from engine.api import EngineError, Unfit
from engine.core.tasks import Embed, Generate, Message
from engine.manager import GPUManager
from tests.scripted_engine import ScriptedEngine
from tests.service.test_manager_stream import scripted

MINILM, WRITER = "all-MiniLM-L6-v2", "phi-3-mini"
MISTAKES: dict[str, Callable[[Any], object]] = {
    "texts come as a list, also one alone: ['a cat']": lambda m: m.embed(MINILM, "a cat"),
    "Expected `str`, got `bytes` - at `$.texts[1]`": lambda m: m.embed(MINILM, ["a", b"b"]),
    "Expected `int | null`, got `float` - at `$.dimensions`": lambda m: m.embed(MINILM, ["a"], dimensions=3.0),
    "Expected `int`, got `float` - at `$.max_tokens`": lambda m: m.generate(WRITER, "a", max_tokens=3.5),
    "Expected `int | null`, got `float` - at `$.seed`": lambda m: next(m.stream(WRITER, "a", seed=1.5)),
    "Expected `array`, got `str` - at `$.stop`": lambda m: m.generate(WRITER, "a", stop="x"),
    "Expected `str`, got `null` - at `$.query`": lambda m: m.rerank(MINILM, None, ["a"]),
    "Expected `bool`, got `str` - at `$.truncate`": lambda m: m.classify(MINILM, ["a"], truncate="yes"),
    "Expected `str`, got `null`": lambda m: m.embed(None, ["a"]),
    "preferred_gpu is the number of a GPU, such as 0, not 'gpu1'": lambda m: m.load_model(MINILM, "gpu1"),
}


class String(str):
    """A string of another library, as numpy has them."""


@pytest.mark.parametrize("words", MISTAKES)
async def test_a_mistake_of_a_script_is_told_and_reaches_no_worker(words: str) -> None:
    engine = ScriptedEngine()
    with pytest.raises(Unfit, match=re.escape(words)):
        await scripted(engine, MISTAKES[words])
    assert engine.asked == []


async def test_texts_may_come_from_anywhere_and_messages_as_plain_tables() -> None:
    engine = ScriptedEngine()

    def script(manager: Any) -> None:  # noqa: ANN401 - as scripts do, which nobody checks
        assert len(manager.embed(MINILM, (String(text) for text in "ab"))) == 2
        manager.generate(WRITER, [{"role": "user", "content": "hi"}], max_tokens=2)

    await scripted(engine, script)
    assert engine.asked == [Embed(("a", "b")), Generate((Message("user", "hi"),), 2)]


async def test_a_forked_process_is_told_whose_the_manager_is_instead_of_waiting_for_ever() -> None:
    def script(manager: GPUManager) -> int:
        if (forked := os.fork()) == 0:
            try:
                with manager:
                    manager.embed(MINILM, ["a"])
            except EngineError as error:
                os._exit(f"of process {os.getppid()}" not in str(error))
            finally:
                os._exit(2)
        _, status = os.waitpid(forked, 0)
        assert len(manager.embed(MINILM, ["a"])) == 1
        return os.waitstatus_to_exitcode(status)

    assert await scripted(ScriptedEngine(), script) == 0
