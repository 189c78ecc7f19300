"""What a second copy of a busy model is worth, live: `python -m benchmarks.copies --help`.

One embedding model with random weights on an engine with two virtual GPUs, each a process with its share of the processor's
threads. Many requests at once, with one copy and with two in turn, so that whatever else the machine does meets both alike; and
what two processes that only count do beside one, which is the most that a second copy could be worth on this machine meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from argparse import ArgumentParser
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.engines import carried_out, started
from engine.core.commands import Evict, Load
from engine.runtime.engine import Engine

_MODEL: Final = "e5-small"
_CATALOG: Final = {
    "models": [
        {
            "name": _MODEL,
            "source": f"synthetic:{_MODEL}",
            "task": "embedding",
            "limits": {"max_batch": 16, "max_sequence": 128},
        }
    ]
}
_ALLOCATION: Final = (
    "devices: {virtual: [{memory: 1GiB}, {memory: 1GiB}]}\nram_tier: {budget: 1GiB}\npolicy: {copies: false}\n"
)
_TEXTS: Final = tuple(f"text {number}: " + "what is asked for again and again, " * 2 for number in range(8))
_AT_ONCE: Final = 8


def main() -> int:
    parser = ArgumentParser(description="Texts a second of one busy model, with one copy and with two.")
    parser.add_argument("--rounds", type=int, default=5, help="of each (5)")
    parser.add_argument(
        "--requests", type=int, default=24, help=f"a round, {_AT_ONCE} at once, {len(_TEXTS)} texts each (24)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="citadel-bench-") as folder:
        asyncio.run(_measure(Path(folder), arguments.rounds, arguments.requests))
    return 0


async def _measure(folder: Path, rounds: int, requests: int) -> None:
    (folder / "model_gpu_mapping.json").write_text(json.dumps(_CATALOG))
    (folder / "gpu_allocation.yaml").write_text(_ALLOCATION)
    engine = await started(folder / "home", folder)
    ones, twos, machine = list[float](), list[float](), list[float]()
    try:
        await carried_out(engine, Load(_MODEL, "gpu0"))
        await _texts_per_s(engine, requests)  # the first runs set up what later ones use
        for _ in range(rounds):
            machine.append(_counted(2) / _counted(1))
            ones.append(await _texts_per_s(engine, requests))
            await carried_out(engine, Load(_MODEL, "gpu1", also=True))
            twos.append(await _texts_per_s(engine, requests))
            await carried_out(engine, Evict(_MODEL, "gpu1"))
    finally:
        await engine.stop()
    gains = [two / one for one, two in zip(ones, twos, strict=True)]
    sys.stdout.write(
        f"{os.cpu_count()} processors, {max(1, (os.cpu_count() or 1) // 2)} threads a device, {rounds} rounds\n"
    )
    rows = {
        "texts/s, one copy": ones,
        "texts/s, two copies": twos,
        "two copies ÷ one": gains,
        "the machine's own": machine,
    }
    for what, figures in rows.items():
        sys.stdout.write(f"{what:<20} {median(figures):8.2f}  ({min(figures):.2f} to {max(figures):.2f})\n")


async def _texts_per_s(engine: Engine, requests: int) -> float:
    to_come = iter(range(requests))

    async def ask() -> None:
        for _ in to_come:
            await engine.embed(_MODEL, list(_TEXTS))

    began_s = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))
    return requests * len(_TEXTS) / (time.perf_counter() - began_s)


def _counted(processes: int) -> int:
    """How far so many processes count together in a second."""
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(_count_for, [0.0] * processes))  # they are there
        return sum(pool.map(_count_for, [1.0] * processes))


def _count_for(seconds: float) -> int:
    number, until_s = 0, time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        number += 1
    return number


if __name__ == "__main__":
    raise SystemExit(main())
