"""A console in a terminal that is resized, typed to, pasted to and clicked on at random while its cards fail, vanish and return.

Short in the suite; `--endurance-s 300` makes it 1,000 steps at least, and has it go on for so many seconds.
"""

from __future__ import annotations

import asyncio
import os
import time
from random import Random
from typing import Final

import pytest

from engine.paths import find_paths
from tests.endurance.failing_cards import stir_cards, with_eight_cards
from tests.pty.painted import REPAINT, painted, settle, text_of, whole_screen
from tests.pty.screen import Cells
from tests.pty.terminal import Terminal, console, terminal
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving
from tests.tui.busy_engines import busy_engine

STEPS: Final = 60
LONG: Final = 1000
SIZE: Final = (80, 24)
HELP: Final = "│ Keys "
KEYS: Final = (
    *(
        b"l",
        b"e",
        b"p",
        b"c",
        b"m",
        b"r",
        b"u",
        b"/",
        b":",
        b" ",
        b"s",
        b"o",
        b"t",
        b"v",
        b"!",
        b"?",
        b"\r",
        b"\x1b",
        b"\t",
    ),
    *(
        b"j",
        b"k",
        b"y",
        b"n",
        b"0",
        b"1",
        b"5",
        b"7",
        b"\x1b[A",
        b"\x1b[B",
        b"\x1b[C",
        b"\x1b[D",
        b"\x1b[5~",
        b"\x1b[6~",
        b"d",
        b"x",
    ),
    b"\x1b[200~bge\xe6\xbc\xa2e\xcc\x81\x1b[200~\x1b[201~",
)
"""All but those that leave, measure, ask another process, save a file, or show what only this console has seen."""
ESCAPE: Final = b"\x1b[27u"
"""As terminals write it that leave no doubt what follows it."""
PLAIN: Final = ESCAPE * 8 + b"!" + ESCAPE * 2 + b"/\r\t\x1b[F\x1b[H/\r\x1b[F\x1b[H?"
"""Close everything, see the alerts, have both cursors on their first rows, and open the help."""


def anything(random: Random) -> bytes:
    """A key, several in one read, or a click, also one beyond the edge."""
    kind = random.random()
    if kind < 0.7:
        return random.choice(KEYS)
    if kind < 0.85:
        return b"".join(random.choices(KEYS, k=5))
    button, row, column = random.choice((0, 64, 65)), random.randrange(0, 400), random.randrange(0, 120)
    return f"\x1b[<{button};{row};{column}M\x1b[<{button};{row};{column}m".encode()


def a_size(random: Random) -> tuple[int, int]:
    return random.choice((SIZE, (160, 50), (237, 63), (random.randrange(1, 250), random.randrange(1, 70))))


async def walk(term: Terminal, engine: ScriptedEngine, random: Random, steps: int, until_s: float) -> None:
    home = engine.state
    done = 0
    while done < steps or time.monotonic() < until_s:
        stir_cards(engine, home, random)
        if random.random() < 0.4:
            term.resize(*a_size(random))
        if random.random() < 0.7:
            term.send(anything(random))
        await asyncio.to_thread(term.bytes_in, random.choice((0.0, 0.004, 0.02, 0.1)))
        done += 1
    engine.set_state(home)
    engine.set_requests({})


async def plainly(term: Terminal) -> tuple[Cells, Cells]:
    """The screen with nothing open and nothing chosen on it: as it has been written piece by piece since it got its size, and as
    it is written as a whole."""
    term.resize(100, 30)
    await asyncio.to_thread(settle, term)
    at = len(term.written)
    term.resize(*SIZE)
    await asyncio.to_thread(whole_screen, term, SIZE)
    term.send(PLAIN)
    while HELP not in text_of(painted(term.written[at:], SIZE)):
        await asyncio.to_thread(term.bytes_in, 0.05)
    term.send(ESCAPE)
    while HELP in text_of(painted(term.written[at:], SIZE)):
        await asyncio.to_thread(term.bytes_in, 0.05)
    await asyncio.to_thread(settle, term)
    piece_by_piece = painted(term.written[at:], SIZE)
    term.send(REPAINT)
    return piece_by_piece, painted(await asyncio.to_thread(whole_screen, term, SIZE), SIZE)


@pytest.mark.parametrize("seed", [1])
async def test_after_any_keys_and_sizes_the_screen_is_that_of_a_fresh_console(
    seed: int, request: pytest.FixtureRequest
) -> None:
    seconds: float | None = request.config.getoption("--endurance-s")
    engine = ScriptedEngine()
    engine.set_state(with_eight_cards((await busy_engine(models=8)).state))
    engine.add_notice("gpu1: the worker was killed by SIGKILL; its models come back")
    async with serving(engine, find_paths(os.environ)):
        with terminal(*console("served"), size=SIZE) as term:
            await asyncio.to_thread(term.until, "phi-3-mini")
            await walk(term, engine, Random(seed), LONG if seconds else STEPS, time.monotonic() + (seconds or 0.0))
            piece_by_piece, whole = await plainly(term)
            assert piece_by_piece == whole, f"{text_of(piece_by_piece)}\n{text_of(whole)}"
            term.send(b"q")
            assert await asyncio.to_thread(term.wait) == 0
        with terminal(*console("served"), size=SIZE) as fresh:
            await asyncio.to_thread(fresh.until, "phi-3-mini")
            _, its = await plainly(fresh)
            assert its == whole, f"{text_of(its)}\n{text_of(whole)}"
