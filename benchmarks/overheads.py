"""What a switch costs beside its bytes, in an engine that is alone in its process: `python -m benchmarks.overheads --help`.

Stalls of the engine's event loop during switches (beside those of an idle one, which the machine is to blame for), the time of
planning, of a round trip to a worker, of all that is neither reading nor copying, and of recovering from a worker's death.
Nothing here imports torch: an engine's process does not either.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import time
from argparse import ArgumentParser, Namespace
from itertools import count
from pathlib import Path
from typing import Final

from benchmarks.engines import carried_out, started, take_off, worker_pid
from benchmarks.heartbeat import Beat, heartbeat, say_lateness
from benchmarks.timings import say_timings
from engine.api import Snapshot
from engine.core.commands import Evict, Load
from engine.core.planning.planner import plan
from engine.core.policy import Policy
from engine.core.records import Switch
from engine.prompt_loop import keep_loop_prompt
from engine.runtime.engine import Engine
from engine.weights.arena import Arena
from engine.worker.forkserver import ForkServer
from engine.worker.protocol import ArenaSize, Release, WorkerConfig

_MODEL: Final = "bge-base"
_CATALOG: Final = {"models": [{"name": _MODEL, "source": f"synthetic:{_MODEL}", "task": "embedding"}]}
_ALLOCATION: Final = "devices: {{virtual: [{{memory: 1GiB}}]}}\nram_tier: {{budget: {tier}}}\n"
_TIERS: Final = {"RAM tier": "1GiB", "page cache": "1MiB"}
"""What a load starts from, and the budget that makes it so."""

_LOOK_S: Final = 0.0005
"""How often it is looked whether a worker is back."""


def main() -> int:
    parser = ArgumentParser(description="What a switch costs beside its bytes.")
    parser.add_argument("--rounds", type=int, default=30, help="switches of each kind, and plans and trips (30)")
    parser.add_argument(
        "--deaths", type=int, default=2, help="of a worker, at most 2: a third in a minute is too many (2)"
    )
    arguments = parser.parse_args()
    keep_loop_prompt()
    with tempfile.TemporaryDirectory(prefix="citadel-bench-") as folder:
        asyncio.run(_measure(Path(folder), arguments))
    return 0


async def _measure(folder: Path, arguments: Namespace) -> None:
    for tier, budget in _TIERS.items():
        config = folder / tier.replace(" ", "-")
        config.mkdir()
        (config / "model_gpu_mapping.json").write_text(json.dumps(_CATALOG))
        (config / "gpu_allocation.yaml").write_text(_ALLOCATION.format(tier=budget))
        engine = await started(folder / f"home of {tier}", config)
        try:
            await _switches(engine, tier, arguments.rounds)
            await _planning(engine, arguments.rounds)
            await _death(engine, tier)
        finally:
            await engine.stop()
    await _round_trips(arguments.rounds)


async def _switches(engine: Engine, tier: str, rounds: int) -> None:
    await carried_out(engine, Load(_MODEL, "gpu0"))  # prepares it, the first time
    busy, idle, beside_s = list[Beat](), list[Beat](), list[float]()
    for _ in range(rounds):
        began_s = time.perf_counter()
        async with heartbeat(busy):
            evicted = await carried_out(engine, Evict(_MODEL))
            loaded = await carried_out(engine, Load(_MODEL, "gpu0"))
        beside_s.append(_beside_bytes(evicted) + _beside_bytes(loaded))
        async with heartbeat(idle):
            await asyncio.sleep(time.perf_counter() - began_s)
    say_lateness(f"loop's lateness while switching from {tier}", busy)
    say_lateness("the same, idle", idle)
    say_timings(f"a switch from {tier} beside reading and copying", beside_s)
    await take_off(engine, _MODEL)


def _beside_bytes(switch: Switch) -> float:
    """Planning, bookkeeping, messages, unbinding and binding."""
    return switch.total_s - switch.phases.read - switch.phases.copy


async def _planning(engine: Engine, rounds: int) -> None:
    state = (await engine.snapshot()).state
    policy = Policy()
    times_s = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        plan(state, Load(_MODEL, "gpu0"), policy, time.time())
        times_s.append(time.perf_counter() - began_s)
    say_timings("a plan", times_s)


async def _death(engine: Engine, tier: str) -> None:
    """From the kill until another worker is ready, and until the resident is ready again on it. Once: after a second death
    within a minute an engine waits on purpose."""
    await carried_out(engine, Load(_MODEL, "gpu0"))
    pid = await worker_pid(engine)
    if pid is None:
        raise SystemExit("gpu0 has no worker")
    began_s = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    while await worker_pid(engine) in (None, pid):  # noqa: ASYNC110 - the engine's own news come only four times a second
        await asyncio.sleep(_LOOK_S)
    ready_s = time.perf_counter() - began_s
    while not _is_back(await engine.snapshot()):  # noqa: ASYNC110 - as above
        await asyncio.sleep(_LOOK_S)
    say_timings("a killed worker until the next is ready", [ready_s])
    say_timings(f"a killed worker until its resident is ready, from {tier}", [time.perf_counter() - began_s])


def _is_back(now: Snapshot) -> bool:
    resident = now.state.find(_MODEL, "gpu0")
    return resident is not None and resident.stage == "ready"


async def _round_trips(rounds: int) -> None:
    """A request that a worker has nothing to do for."""
    arena = Arena(1 << 20)
    server = ForkServer(arena.fd)
    worker = await server.spawn(WorkerConfig(None, "none", 0, ArenaSize(arena.size_bytes)))
    times_s, numbers = [], count(1)
    for _ in range(rounds):
        began_s = time.perf_counter()
        await worker.request(Release(next(numbers), "nobody"))
        times_s.append(time.perf_counter() - began_s)
    say_timings("a round trip to a worker", times_s)
    await worker.close()
    await server.close()
    arena.close()


if __name__ == "__main__":
    raise SystemExit(main())
