"""Asking for advice in another process: it answers as this one would, yields to others, and ends with whoever asked."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest

from engine.api import EngineError
from engine.core.sizes import GB
from engine.recording.trace import TraceRequest
from engine.replay.box import Box
from engine.simulation.advice import Question, Trying, advise, question
from engine.simulation.adviser import ask_for_advice
from engine.simulation.variants import Setup

NEVER_ENDS = """
import sys, threading
sys.stdin.buffer.read()
print('{"type":"trying","share":0.5,"title":"half"}', flush=True)
threading.Event().wait()
"""


def asked() -> Question:
    requests = [TraceRequest(20.0 * number, model, 1.0) for number, model in enumerate("ab" * 8)]
    return question(Setup(Box((4 * GB,)), dict.fromkeys("ab", 3 * GB)), requests)


def children() -> list[int]:
    """Of this process, whichever of its threads started them."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended since
            found += map(int, (task / "children").read_text().split())
    return found


def nothing(now: Trying) -> None:
    """Nobody looks."""


async def test_another_process_gives_the_same_advice_and_says_how_far_it_is() -> None:
    said: list[Trying] = []

    assert await ask_for_advice(asked(), said.append) == advise(asked(), nothing)
    assert said[-1].share == 1.0


async def test_it_yields_to_everybody_else() -> None:
    before, lower = set(children()), set[int]()

    def look(now: Trying) -> None:
        lower.update(os.getpriority(os.PRIO_PROCESS, pid) for pid in set(children()) - before)

    await ask_for_advice(asked(), look)

    assert min(lower) >= min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)


async def test_whoever_stops_asking_ends_the_process() -> None:
    before, begun = set(children()), asyncio.Event()
    asking = asyncio.create_task(ask_for_advice(asked(), lambda now: begun.set(), ("-c", NEVER_ENDS)))
    await begun.wait()
    assert set(children()) - before

    asking.cancel()
    await asyncio.wait([asking])

    assert asking.cancelled()
    assert not set(children()) - before


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("import sys; sys.exit('no memory is left')", "no memory is left"),
        ("import sys; sys.stdin.buffer.read(); sys.exit(3)", "ended with 3"),
    ],
)
async def test_a_process_that_ends_without_advice_is_told_with_its_last_words(program: str, why: str) -> None:
    with pytest.raises(EngineError, match=f"advising broke off: .*{why}"):
        await ask_for_advice(asked(), nothing, ("-c", program))
