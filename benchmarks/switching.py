"""Citadel's loads beside the usual ways, in one run: `python -m benchmarks.switching --help`.

Each round runs every way once, in an order drawn anew, and its times are compared with the bare copy of the same bytes in the
same round, so that what else the machine does weighs on both. The first round is not counted.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from array import array
from collections.abc import Iterable
from pathlib import Path
from random import Random

import msgspec
from transformers.utils import logging

from benchmarks.engines import carried_out, started, take_off
from benchmarks.peaks import PeakRise
from benchmarks.report import report_text
from benchmarks.results import ModelTimes, SwitchTimes
from benchmarks.rivals import Memory
from benchmarks.subjects import NAMES, Model, made, write_config
from benchmarks.ways import Engines, Way, all_ways
from engine.core.commands import Load
from engine.prompt_loop import keep_loop_prompt
from engine.recording.host_facts import this_machine


def main() -> int:
    parser = ArgumentParser(description="Citadel's loads beside the usual ways.")
    parser.add_argument("--rounds", type=int, default=9, help="rounds that count (9)")
    parser.add_argument("--models", nargs="+", choices=NAMES, default=NAMES, help="all of them when left out")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="keep every time")
    arguments = parser.parse_args()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    keep_loop_prompt()  # of the rivals too, which run in it
    with tempfile.TemporaryDirectory(prefix="citadel-bench-") as folder:
        results = asyncio.run(_measure(Path(folder), arguments))
    if arguments.output is not None:
        arguments.output.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    sys.stdout.write(report_text(results))
    return 0 if all(result.same_answers for result in results.models) else 1


async def _measure(folder: Path, arguments: Namespace) -> SwitchTimes:
    models = tuple(made(name, folder / "models") for name in arguments.models)
    # Both use one cache, so that models are prepared once.
    cache = folder / "ram" / "cache"
    cache.mkdir(parents=True)
    (folder / "disk").mkdir()
    (folder / "disk" / "cache").symlink_to(cache)
    held = Engines(
        await started(folder / "ram", write_config(folder / "ram-config", models, "2GiB")),
        await started(folder / "disk", write_config(folder / "disk-config", models, "1MiB")),
        cache,
    )
    try:
        measured = [await _measure_model(held, model, arguments.rounds) for model in models]
        machine = this_machine((await held.ram.snapshot()).state.devices.values())
    finally:
        await held.ram.stop()
        await held.disk.stop()
    return SwitchTimes(machine, arguments.rounds, tuple(measured))


async def _measure_model(held: Engines, model: Model, rounds: int) -> ModelTimes:
    for engine in (held.ram, held.disk):
        await carried_out(engine, Load(model.name, "gpu0"))  # the first one prepares it
    size_bytes = (await held.ram.snapshot()).state.models[model.name].footprint.weights_bytes
    ways, not_run = await all_ways(held, model, Memory(size_bytes))
    result = ModelTimes(model.name, model.synthetic, size_bytes, {name: () for name in ways}, {}, {}, {}, not_run)
    random = Random(7)
    for number in range(rounds + 1):
        sys.stderr.write(f"{model.name}: round {number} of {rounds}\n")
        for name in random.sample(list(ways), len(ways)):
            await _run(result, name, ways[name], counts=number > 0)
    for name, way in ways.items():
        result.peaks_bytes[name] = await _peak(way)
    for engine in (held.ram, held.disk):
        await take_off(engine, model.name)
    return result


async def _run(result: ModelTimes, name: str, way: Way, *, counts: bool) -> None:
    """Run it once; its times go into the result if this round counts."""
    await way.make_ready()
    gc.collect()  # what the last one left is not charged to the next
    seconds = await way.run()
    began_s = time.perf_counter()
    vectors = await way.answer() if way.answer else None
    answer_s = time.perf_counter() - began_s
    if counts:
        _append(result.times, name, seconds)
        if vectors is not None:
            _append(result.answers_s, name, answer_s)
            result.hashes[name] = (*result.hashes.get(name, ()), _sha256(vectors))


def _append(times: dict[str, tuple[float, ...]], name: str, seconds: float) -> None:
    times[name] = (*times.get(name, ()), seconds)


async def _peak(way: Way) -> int:
    await way.make_ready()
    gc.collect()
    rise = PeakRise(way.pids)
    await way.run()
    return rise.size_bytes()


def _sha256(vectors: Iterable[Iterable[float]]) -> str:
    flat = array("f", (figure for vector in vectors for figure in vector))
    return hashlib.sha256(flat.tobytes()).hexdigest()


if __name__ == "__main__":
    raise SystemExit(main())
