"""Using models from the command line, and the self-test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from msgspec.structs import replace

from citadel_tui.cli.selftest import selftest
from engine.api import Event
from engine.core.commands import Load, SetPin, Submission
from engine.core.names import CPU, ModelName
from engine.core.tasks import RunEvent, RunResult, Task
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine, vectors_of


async def test_one_text_gives_dimensions_and_the_first_figures(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("embed", "e5-small", "cat")
    assert ran.out == "e5-small (synthetic) on gpu0: 3 dimensions, 0.01 s\n  +1.0000 +0.0000 +0.0000 …  cat\n"


async def test_several_texts_are_compared(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("embed", "all-MiniLM-L6-v2", "cat", "kitten")
    assert ran.out.splitlines()[-3:] == [
        "        1       2  TEXT",
        "1  1.0000  0.6000  cat",
        "2  0.6000  1.0000  kitten",
    ]


async def test_vectors_come_whole_as_json(citadel: Citadel, engine: ScriptedEngine) -> None:
    answer = json.loads((await citadel("embed", "e5-small", "cat", "--json")).out)
    assert answer["vectors"] == [[1.0, 0.0, 0.0]]
    assert answer["synthetic"] is True


async def test_generated_text_is_all_that_reaches_the_output(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("generate", "phi-3-mini", "Once", "--max-tokens", "3")
    assert ran.out == "word word word\n"
    assert "phi-3-mini (synthetic) on gpu0: 3 tokens" in ran.err


async def test_the_catalog_is_listed(citadel: Citadel, engine: ScriptedEngine) -> None:
    lines = (await citadel("models", "list")).out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["all-MiniLM-L6-v2", "e5-small", "bge-base", "phi-3-mini"]


async def test_the_self_test_loads_switches_and_falls_back(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("selftest")
    assert ran.status == 0
    assert ran.out.splitlines() == [
        "PASS  all-MiniLM-L6-v2 loaded on gpu0: 102760448 bytes (98 MiB), 98 MiB used on the device",
        "PASS  all-MiniLM-L6-v2 loaded on gpu1: 102760448 bytes (98 MiB), 98 MiB used on the device",
        "PASS  switch: all-MiniLM-L6-v2 out of gpu1 and in again, 0.40 s (target < 2 s)",
        "PASS  CPU fallback forced: all-MiniLM-L6-v2 runs on cpu and answers as on gpu1",
        "PASS  put back: every model and pin is where it was",
    ]


async def test_the_self_test_puts_back_what_it_moved_and_whom_it_drove_out(engine: ScriptedEngine) -> None:
    for command in (
        Load("all-MiniLM-L6-v2", CPU),
        Load("phi-3-mini", "gpu0"),
        Load("bge-base", "gpu1"),
        SetPin("e5-small"),
    ):
        await engine.submit(Submission(repr(command), command))
    before = (await engine.snapshot()).state
    assert all([check.passed async for check in selftest(engine)])
    after = (await engine.snapshot()).state
    assert {(r.model, r.device) for r in after.residents} == {(r.model, r.device) for r in before.residents}
    assert after.models == before.models


@pytest.mark.parametrize("words", ["gpu0 is out of memory"])
async def test_a_load_that_breaks_fails_the_self_test(citadel: Citadel, engine: ScriptedEngine, words: str) -> None:
    engine.fail_next(words)
    ran = await citadel("selftest")
    assert ran.status == 1
    assert f"FAIL  load all-MiniLM-L6-v2 on gpu0: {words}" in ran.out.splitlines()
    assert "PASS  put back: every model and pin is where it was" in ran.out.splitlines()


async def test_an_answer_that_differs_on_the_cpu_fails_the_self_test() -> None:
    class Forgetful(ScriptedEngine):
        async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
            async for event in super().run(model, task):
                assert isinstance(event, RunResult)
                row = (0.0, 1.0) if event.device == CPU else (1.0, 0.0)
                yield replace(event, result=vectors_of([row]))

    checks = [check async for check in selftest(Forgetful())]
    assert [check.text.split(":")[0] for check in checks if not check.passed] == ["CPU fallback forced"]


class Followed(ScriptedEngine):
    """Knows when somebody begins to follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_followed = asyncio.Event()

    def events(self, after: int | None = None) -> AsyncIterator[Event]:
        self.is_followed.set()
        return super().events(after)


async def test_the_self_test_waits_until_a_start_has_brought_everything_back() -> None:
    engine = Followed()
    engine.hold()
    model = "all-MiniLM-L6-v2"
    restoring = asyncio.create_task(engine.submit(Submission("restore-1", Load(model, "gpu1"), "restore")))
    await engine.until(lambda: bool(engine.jobs))

    async def tried() -> list[str]:
        return [check.text async for check in selftest(engine) if not check.passed]

    trying = asyncio.create_task(tried())
    await engine.is_followed.wait()
    assert [submission.origin for submission in engine.submissions] == ["restore"]
    engine.release()
    assert await trying == []
    await restoring
    assert [(r.model, r.device) for r in engine.state.residents] == [(model, "gpu1")]
