"""Asks for advice in a process of its own, and passes on how far it is. Whoever stops asking ends that process."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from typing import IO, Final

from engine.api import EngineError
from engine.child_environment import child_environment
from engine.core.serialization import Undecodable, from_json, to_json
from engine.simulation.advice import Advice, AdviceNews, Question, Trying

ADVISE_PROGRAM: Final = ("-P", "-m", "engine.simulation.advise_program")
"""What Python runs. `-P` keeps a folder named engine in the working folder from being taken for ours."""
_LONGEST_LINE: Final = 1 << 22
"""Bytes. Advice is a line, of some hundred bytes for each variant."""


async def ask_for_advice(
    asked: Question, say: Callable[[Trying], None], program: Sequence[str] = ADVISE_PROGRAM
) -> Advice:
    """The advice; cancelled, nothing goes on. Raises EngineError when the process ends without any."""
    with tempfile.TemporaryFile() as complaints:
        async with _process(program, complaints) as process:
            await _tell(process, asked)
            assert process.stdout is not None
            async for line in process.stdout:
                item: Trying | Advice = _understood(line)
                if isinstance(item, Advice):
                    return item
                say(item)
            status = await process.wait()
        raise EngineError(f"advising broke off: {_last_words(complaints) or f'its process ended with {status}'}")


def _understood(line: bytes) -> Trying | Advice:
    try:
        news: Trying | Advice = from_json(line, AdviceNews)
    except Undecodable as error:
        raise EngineError(f"advising broke off: its process said what can't be read: {error}") from error
    return news


@contextlib.asynccontextmanager
async def _process(program: Sequence[str], complaints: IO[bytes]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=complaints,
        limit=_LONGEST_LINE,
        env=child_environment(),
        start_new_session=True,  # a terminal's Ctrl+C comes to us, who end it
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # it keeps nothing that could be left half done
        await process.wait()


async def _tell(process: asyncio.subprocess.Process, asked: Question) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended: its last words tell why
        process.stdin.write(to_json(asked))
        await process.stdin.drain()
    process.stdin.close()


def _last_words(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
