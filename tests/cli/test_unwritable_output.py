"""Output that can't be written is one sentence and a status that says so, whichever command has something to say."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.scripted_engine import ScriptedEngine

SENTENCES = {
    ">/dev/full": "citadel: the output can't be written: No space left on device; what was to be told is not complete\n",
    ">&-": "citadel: the output can't be written: it is closed; what was to be told is not complete\n",
}
WITHOUT_ENGINE = ("--help", "--version", "help keys", "completion bash", "gpus --json")
WITH_ENGINE = (
    *("status", "status --json", "status --csv", "status --watch", "requests", "requests --json", "log --follow"),
    *(
        "monitor --duration 1",
        "why bge-base",
        "models list",
        "load bge-base --yes --json",
        "generate phi-3-mini a --stream",
    ),
)


async def shell(line: str, extra: str = "") -> tuple[int, str]:
    """Exit status and what stderr got of `citadel LINE`."""
    command = f"{shlex.quote(sys.executable)} -m citadel_tui {line} {extra}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-o", "pipefail", "-c", command),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    _, err = await process.communicate()
    return process.returncode or 0, err.decode()


@pytest.mark.parametrize("where", SENTENCES)
@pytest.mark.parametrize("line", WITHOUT_ENGINE)
async def test_what_needs_no_engine_says_that_it_can_not_be_written(line: str, where: str) -> None:
    assert await shell(line, where) == (1, SENTENCES[where])


@pytest.mark.parametrize("where", SENTENCES)
async def test_what_asks_the_engine_says_so_too(engine: ScriptedEngine, where: str) -> None:
    engine.add_notice("a line of the log")
    for line in WITH_ENGINE:
        status, err = await shell(line, where)
        assert (line, status, err) == (line, 1, err)
        assert err.endswith(SENTENCES[where]), (line, err)
        assert "Traceback" not in err


async def test_a_reader_who_has_gone_is_no_failure_to_tell_of(engine: ScriptedEngine) -> None:
    assert await shell("status --watch 0.05", "| head -1 >/dev/null") == (141, "")


async def test_a_remark_that_can_not_be_written_changes_nothing(engine: ScriptedEngine) -> None:
    assert await shell("nosuch", "2>/dev/full") == (2, "")
    assert await shell("nosuch", "2>&-") == (2, "")
    assert await shell("pin bge-base --yes", "2>/dev/full >/dev/null") == (0, "")


@pytest.mark.parametrize("line", ["monitor --duration 0.1 --output /dev/full", "record /dev/full"])
async def test_a_file_that_takes_no_more_is_named(engine: ScriptedEngine, line: str) -> None:
    status, err = await shell(line)
    assert status == 1
    assert "/dev/full can't be written: No space left on device" in err
    assert len(err.splitlines()) == 1
