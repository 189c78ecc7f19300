"""Clients of all tasks at once, on GPUs too small for their models, while workers die and hang: every answer is the right one,
nobody waits for ever, and nothing is left behind.

Short in the suite; `--endurance-s 1800` has the clients go on for so many seconds. What it prints is for `docs/promises.md`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import pytest
from msgspec.structs import replace

from engine.api import Done, Snapshot
from engine.client import RemoteEngine
from engine.core.commands import Load, Submission
from engine.core.names import DeviceId, ModelName
from engine.core.tasks import Classify, Embed, Generate, Rerank, Task, TaskKind
from engine.runtime.history import HISTORY_RECORDS
from engine.worker.synthetic import make
from tests.endurance.clients import Ask, Crowd, assert_same
from tests.endurance.processes import family, holding
from tests.endurance.switching import all_devices_up, until
from tests.worker.decoders import write_decoder
from tests.worker.judging_checkpoints import write_judge
from tests.worker.small_recipes import SMALL_EMBEDDER

CLIENTS: Final = 32
REQUESTS: Final = 600
"""In the suite."""
TEXTS: Final = ("a cat sits on the mat", "the stock market fell today", "a warm sill", "who", "the dog sits on a mat")
KINDS: Final[dict[ModelName, TaskKind]] = {
    "one": "embedding",
    "two": "embedding",
    "writer": "generation",
    "judge": "rerank",
    "sorter": "classify",
}
SILENCE_S: Final = 3.0
LONGEST_WAIT_S: Final = 60.0
"""The engine refuses a request that waits for longer for room, or for those before it."""


@pytest.fixture
def gpus() -> int:
    return 2


@pytest.fixture
def config(tmp_path: Path, gpus: int) -> Path:
    make(replace(SMALL_EMBEDDER, seed=1), tmp_path / "one")
    make(replace(SMALL_EMBEDDER, seed=2), tmp_path / "two")
    write_decoder(tmp_path / "writer")
    write_judge("bert", tmp_path / "judge")
    write_judge("bert", tmp_path / "sorter", labels=3)
    limits = {"max_batch": 4, "max_sequence": 48}
    catalog = [
        {"name": name, "source": f"path:{tmp_path / name}", "task": kind, "limits": limits}
        for name, kind in KINDS.items()
    ]
    (tmp_path / "model_gpu_mapping.json").write_text(json.dumps({"models": catalog}))
    silence = f"monitoring: {{not_answering_s: {SILENCE_S}}}\n"
    virtual = ", ".join(["{memory: 1MiB}"] * gpus)
    (tmp_path / "gpu_allocation.yaml").write_text(
        f"devices: {{virtual: [{virtual}]}}\npolicy: {{min_residency_s: 0}}\n{silence}"
    )
    return tmp_path


@pytest.fixture
def may_go_on(request: pytest.FixtureRequest) -> Callable[[int], bool]:
    """Whether another request is sent, when so many have ended."""
    seconds: float | None = request.config.getoption("--endurance-s")
    if seconds is None:
        return lambda ended: ended < REQUESTS
    end_s = time.monotonic() + seconds
    return lambda _: time.monotonic() < end_s


async def test_a_crowd_gets_right_answers_while_models_switch_and_workers_die_and_hang(
    engine: RemoteEngine,
    may_go_on: Callable[[int], bool],
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pid = (await engine.hello()).pid
    asks = [
        Ask(model, task, (await engine.result(model, task)).result)
        for model, kind in KINDS.items()
        for task in _tasks(kind)
    ]
    crowd = Crowd(engine, asks, may_go_on)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(crowd.run(CLIENTS))
        await crowd.until_ended(REQUESTS // 4)
        losing = tasks.create_task(_lose_workers(engine, crowd))
        switching = tasks.create_task(_switch(engine, crowd))
        if request.config.getoption("--endurance-s"):
            await _until_all_is_kept(engine, crowd)
        before = holding(pid)
        await losing
        warm_kib = _own_kib(pid)

    await until(engine, lambda now: all_devices_up(now) and not now.jobs and not _leases(now))
    after = holding(pid)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{dict(crowd.counts)}, {switching.result()} commands, {(await engine.records(1))[0].seq} records; the longest wait"
            f" {crowd.longest_s:.1f} s; the engine {before.resident_kib >> 10} → {after.resident_kib >> 10} MiB, "
            f"{before.descriptors} → {after.descriptors} descriptors;"
            f" all processes {warm_kib >> 10} → {_own_kib(pid) >> 10} MiB\n"
        )
    assert crowd.counts["answered"] > crowd.counts["left"] > 0
    assert switching.result() > 5
    assert crowd.counts["lost"] < REQUESTS // 4
    assert crowd.longest_s < LONGEST_WAIT_S
    assert after.resident_kib < 1.1 * before.resident_kib
    assert after.descriptors < before.descriptors + CLIENTS
    assert after.threads < before.threads + CLIENTS
    assert _own_kib(pid) < 1.1 * warm_kib
    for ask in asks:
        assert_same(await engine.result(ask.model, ask.task), ask)


async def _until_all_is_kept(engine: RemoteEngine, crowd: Crowd) -> None:
    """Of what the engine remembers of its past, it remembers no more from now on."""
    while (await engine.records(1))[0].seq < HISTORY_RECORDS and await crowd.until_ended(
        crowd.counts.total() + REQUESTS
    ):
        pass


async def _switch(engine: RemoteEngine, crowd: Crowd) -> int:
    """An operator puts models elsewhere all the time; how often that was done, and not refused for a worker that is down."""
    random, done = Random(1), 0
    while await crowd.until_ended(crowd.counts.total() + 10):
        load = Load(random.choice(list(KINDS)), random.choice(("gpu0", "gpu1")))
        done += isinstance(await engine.submit(Submission(str(uuid.uuid4()), load)), Done)
    return done


async def _lose_workers(engine: RemoteEngine, crowd: Crowd) -> None:
    """One is killed, one hangs, in the midst of requests; others take their places, and are warm at the end."""
    await _lose(engine, "gpu0", signal.SIGKILL)
    await crowd.until_ended(REQUESTS // 2)
    await _lose(engine, "gpu1", signal.SIGSTOP)
    await crowd.until_ended(crowd.counts.total() + REQUESTS)


def _own_kib(pid: int) -> int:
    return sum(holding(process).own_kib for process in family(pid))


async def _lose(engine: RemoteEngine, device: DeviceId, how: signal.Signals) -> None:
    state = await until(engine, lambda now: now.state.devices[device].worker_pid is not None)
    pid = state.devices[device].worker_pid
    assert pid is not None
    os.kill(pid, how)
    await until(engine, lambda now: now.state.devices[device].worker_pid not in (None, pid))


def _leases(snapshot: Snapshot) -> int:
    return sum(resident.leases for resident in snapshot.state.residents)


def _tasks(kind: TaskKind) -> tuple[Task, ...]:
    """Short and long ones."""
    match kind:
        case "embedding":
            return (*(Embed((text,)) for text in TEXTS), Embed(TEXTS), Embed(TEXTS * 8))
        case "generation":
            return (*(Generate(text, tokens) for text, tokens in zip(TEXTS, (4, 9, 16, 24, 2), strict=True)),)
        case "rerank":
            return Rerank("who", TEXTS), Rerank("a cat", TEXTS[:1])
        case "classify":
            return Classify(TEXTS), Classify(TEXTS[1:2])
