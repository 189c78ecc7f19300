"""Rows about texts to write: several at once beside one after the other, who joins late, who leaves early."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from statistics import median
from typing import Final

from benchmarks.asked import Asked, BareDecoder, Sample, timed, together
from benchmarks.subjects import DECODER
from engine.core.tasks import Generate, TextPart

_TOKENS: Final = 24
_LONG: Final = 250
_LARGE_PROMPT: Final = 400


class Writing:
    """A generation under way, and when each of its parts came."""

    def __init__(self, asked: Asked, prompt: str, tokens: int) -> None:
        self.parts_s: Final[list[float]] = []
        self._came = asyncio.Event()
        self.task: Final = asyncio.create_task(self._read(asked, Generate(prompt, tokens)))

    async def parts(self, count: int) -> None:
        """Wait until so many have come, or the end."""
        while len(self.parts_s) < count and not self.task.done():
            self._came.clear()
            await self._came.wait()

    async def _read(self, asked: Asked, task: Generate) -> None:
        try:
            async with aclosing(asked.engine.run(DECODER, task)) as events:
                async for event in events:
                    if isinstance(event, TextPart):
                        self.parts_s.append(time.perf_counter())
                        self._came.set()
        finally:
            asyncio.get_running_loop().call_soon(self._came.set)  # once the task is done


async def together_or_in_turn(asked: Asked) -> dict[str, Sample]:
    """4 and 8 generations at once and one after the other; one beside `generate`. All must write what they write alone."""
    bare, tokens = _bare(asked), _TOKENS
    prompts = [bare.prompt(20 + 40 * number // 7, seed=number) for number in range(8)]
    began_s = time.perf_counter()
    alone = [await asked.engine.generate(DECODER, prompt, tokens) for prompt in prompts]
    in_turn_s = time.perf_counter() - began_s
    samples = {}
    for count in (4, 8):
        began_s = time.perf_counter()
        wrote = await together(*(asked.engine.generate(DECODER, prompt, tokens) for prompt in prompts[:count]))
        together_s = time.perf_counter() - began_s
        if [one.text for one in wrote] != [one.text for one in alone[:count]]:
            raise SystemExit("generations that ran together wrote something else than alone; this run is worth nothing")
        share = sum(one.seconds for one in alone[:count]) / sum(one.seconds for one in alone)
        samples[f"together-{count}"] = Sample(
            share * in_turn_s / together_s, {"together": together_s, "in turn": share * in_turn_s}
        )
    ours_s = await timed(asked.engine.generate(DECODER, prompts[0], tokens))
    bare_s = bare.generate_s(prompts[0], tokens)
    samples["generate"] = Sample(bare_s / ours_s, {"engine": ours_s, "generate": bare_s})
    return samples


async def late_joiner(asked: Asked) -> dict[str, Sample]:
    """The first part of one who comes while two others write, and of the same one on an idle engine."""
    bare, tokens = _bare(asked), 24 if asked.is_quick else 60
    prompt = bare.prompt(30, seed=9)
    idle_s = await _first_part_s(asked, prompt)
    others = [Writing(asked, bare.prompt(30, seed=number), tokens) for number in range(2)]
    await others[0].parts(5)
    joined_s = await _first_part_s(asked, prompt)
    await together(*(other.task for other in others))
    return {"late-joiner": Sample(joined_s / idle_s, {"joining": joined_s, "idle": idle_s})}


async def large_prompt_joins(asked: Asked) -> dict[str, Sample]:
    """The longest pause of those who write while a prompt of 400 tokens is read, in steps of theirs."""
    bare, tokens = _bare(asked), 24 if asked.is_quick else 80
    others = [Writing(asked, bare.prompt(30, seed=number), tokens) for number in range(3)]
    await others[0].parts(8)
    joined_s = time.perf_counter()
    first_s = await _first_part_s(asked, bare.prompt(_LARGE_PROMPT, seed=10))
    until_s = joined_s + first_s
    await together(*(other.task for other in others))
    steps_s = [gap_s for other in others for gap_s, end_s in _gaps(other) if end_s < joined_s]
    pauses_s = [gap_s for other in others for gap_s, end_s in _gaps(other) if joined_s < end_s <= until_s + gap_s]
    step_s, pause_s = median(steps_s), max(pauses_s, default=0.0)
    return {"large-prompt": Sample(pause_s / step_s, {"pause": pause_s, "step": step_s, "its first part": first_s})}


async def leaver(asked: Asked) -> dict[str, Sample]:
    """The next one's delay after somebody has left 250 tokens, beyond what it takes alone, in steps."""
    bare = _bare(asked)
    prompt = bare.prompt(20, seed=11)
    lone_s = await timed(asked.engine.generate(DECODER, prompt, 2))
    long = Writing(asked, bare.prompt(20, seed=12), 60 if asked.is_quick else _LONG)
    await long.parts(8)
    step_s = median(gap_s for gap_s, _ in _gaps(long))
    long.task.cancel()
    await asyncio.gather(long.task, return_exceptions=True)
    next_s = await timed(asked.engine.generate(DECODER, prompt, 2))
    await asked.until_idle()
    return {"leaver": Sample((next_s - lone_s) / step_s, {"next": next_s, "lone": lone_s, "step": step_s})}


async def _first_part_s(asked: Asked, prompt: str) -> float:
    began_s = time.perf_counter()
    writing = Writing(asked, prompt, 4)
    await writing.task
    return writing.parts_s[0] - began_s


def _gaps(writing: Writing) -> list[tuple[float, float]]:
    """Between each part and the one before, and when it ended."""
    return [(after - before, after) for before, after in zip(writing.parts_s, writing.parts_s[1:], strict=False)]


def _bare(asked: Asked) -> BareDecoder:
    assert asked.decoder is not None
    return asked.decoder
