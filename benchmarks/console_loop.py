"""How late the console's event loop comes back while the engine switches: `python -m benchmarks.console_loop --help`.

The console runs without a terminal, beside an engine in a process of its own, as it ships; the same while nothing happens tells
what the machine is to blame for.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Final

from benchmarks.engines import carried_out
from benchmarks.heartbeat import Beat, heartbeat, say_lateness
from citadel_tui.app import CitadelApp
from citadel_tui.theme import look_for
from engine.api import EngineAPI
from engine.client import connect
from engine.core.commands import Evict, Load
from engine.paths import Paths, find_paths
from engine.process import ensure_engine, wait_until_gone

_MODEL: Final = "bge-base"
_CATALOG: Final = {"models": [{"name": _MODEL, "source": f"synthetic:{_MODEL}", "task": "embedding"}]}
_ALLOCATION: Final = "devices: {virtual: [{memory: 1GiB}]}\nram_tier: {budget: 1GiB}\n"
_SIZES: Final = ((80, 24), (160, 50))


def main() -> int:
    parser = ArgumentParser(description="How late the console's event loop comes back while the engine switches.")
    parser.add_argument("--rounds", type=int, default=30, help="switches beside a console of each size (30)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="citadel-bench-") as folder:
        asyncio.run(_measure(Path(folder), arguments.rounds))
    return 0


async def _measure(folder: Path, rounds: int) -> None:
    (folder / "model_gpu_mapping.json").write_text(json.dumps(_CATALOG))
    (folder / "gpu_allocation.yaml").write_text(_ALLOCATION)
    paths = find_paths({**os.environ, "CITADEL_HOME": str(folder / "home")})
    os.environ["CITADEL_HOME"] = str(folder / "home")
    await ensure_engine(paths, folder)
    try:
        engine = await connect(paths)
        await carried_out(engine, Load(_MODEL, "gpu0"))  # prepares it, the first time
        for size in _SIZES:
            await _beside(engine, paths, size, rounds)
        await engine.close()
    finally:
        await (await connect(paths)).stop()
        await wait_until_gone(paths)


async def _beside(engine: EngineAPI, paths: Paths, size: tuple[int, int], rounds: int) -> None:
    app = CitadelApp(lambda: connect(paths), look_for(os.environ, "utf-8", "auto"), read_only=True)
    busy, idle = list[Beat](), list[Beat]()
    gc.collect()  # what the last one left, which a process of its own would not have
    gc.freeze()  # as the console does when it starts
    async with app.run_test(size=size) as pilot:
        clock = asyncio.get_running_loop()
        for _ in range(rounds):
            began_s = clock.time()
            async with heartbeat(busy):
                await carried_out(engine, Evict(_MODEL))
                await carried_out(engine, Load(_MODEL, "gpu0"))
                await pilot.pause()
            async with heartbeat(idle):
                await asyncio.sleep(clock.time() - began_s)
    say_lateness(f"{size[0]}×{size[1]}, while switching", busy)
    say_lateness(f"{size[0]}×{size[1]}, the same time without", idle)


if __name__ == "__main__":
    raise SystemExit(main())
