"""The `citadel` command, run in a thread beside the event loop that serves a scripted engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple, TypeAlias

import pytest

from citadel_tui.cli import main
from engine.paths import find_paths
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving


class Ran(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


Citadel: TypeAlias = Callable[..., Awaitable[Ran]]


@pytest.fixture
def citadel(capsys: pytest.CaptureFixture[str]) -> Citadel:
    async def run(*arguments: str) -> Ran:
        status = await asyncio.to_thread(_exit_status, arguments)
        return Ran(status, *capsys.readouterr())

    return run


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    """Served where the command looks for an engine."""
    scripted = ScriptedEngine()
    async with serving(scripted, find_paths(os.environ)):
        yield scripted


def _exit_status(arguments: tuple[str, ...]) -> int:
    try:
        return main(arguments)
    except SystemExit as exit_:  # argparse; it must not reach the event loop, which it would end
        return exit_.code if isinstance(exit_.code, int) else 1
