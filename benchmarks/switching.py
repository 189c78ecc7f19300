"""Citadel's loads beside the usual ways, in one run: `python -m benchmarks.switching --help`.

Each round runs every contender once, in an order drawn anew, and its times are compared with the bare copy of the same
bytes in the same round, so that what else the machine does weighs on both. The first round is not counted.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import sys
import tempfile
import uuid
from argparse import ArgumentParser, Namespace
from array import array
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from random import Random
from typing import Final

import msgspec
from msgspec import Struct
from transformers.utils import logging

from benchmarks.report import report_text
from benchmarks.results import ENGINE_DISK, ENGINE_RAM, FROM_PRETRAINED, Result, Results
from benchmarks.rivals import Assign, BareCopy, BareRead, FromPretrained, FromPretrainedFresh, Memory, OutAndIn, answer
from benchmarks.subjects import NAMES, Model, made, write_config
from engine.api import Done, EngineAPI
from engine.bench.machine import this_machine
from engine.core.commands import Command, Evict, Load, Submission
from engine.core.plans import Tier
from engine.core.records import Switch
from engine.runtime.engine import Engine
from engine.runtime.start import start_engine

TEXTS: Final = ["a cat sits on the mat", "a stock market"]


class Engines(Struct, frozen=True):
    """Two that differ only in whether their RAM tier has room."""

    ram: Engine
    disk: Engine


def main() -> int:
    parser = ArgumentParser(description="Citadel's loads beside the usual ways.")
    parser.add_argument("--rounds", type=int, default=9, help="rounds that count (9)")
    parser.add_argument("--models", nargs="+", choices=NAMES, default=NAMES, help="all of them when left out")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="keep every time")
    arguments = parser.parse_args()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory(prefix="citadel-bench-") as folder:
        results = asyncio.run(_measure(Path(folder), arguments))
    if arguments.output is not None:
        arguments.output.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    sys.stdout.write(report_text(results))
    return 0 if all(result.same_answers for result in results.models) else 1


async def _measure(folder: Path, arguments: Namespace) -> Results:
    models = tuple(made(name, folder / "models") for name in arguments.models)
    # Both use one cache, so that models are prepared once.
    (folder / "ram" / "cache").mkdir(parents=True)
    (folder / "disk").mkdir()
    (folder / "disk" / "cache").symlink_to(folder / "ram" / "cache")
    engines = Engines(
        await _started(folder / "ram", write_config(folder / "ram-config", models, "2GiB")),
        await _started(folder / "disk", write_config(folder / "disk-config", models, "1MiB")),
    )
    try:
        measured = [await _measure_model(engines, model, arguments.rounds) for model in models]
        machine = this_machine((await engines.ram.snapshot()).state.devices.values())
    finally:
        await engines.ram.stop()
        await engines.disk.stop()
    return Results(machine, arguments.rounds, tuple(measured))


async def _started(home: Path, config: Path) -> Engine:
    engine = await start_engine(config, {**os.environ, "CITADEL_HOME": str(home)})
    async for _ in engine.events():
        devices = (await engine.snapshot()).state.devices.values()
        if all(device.reading.health == "ok" for device in devices):
            break
    return engine


async def _measure_model(engines: Engines, model: Model, rounds: int) -> Result:
    answers = [await _first_answer(engine, model) for engine in (engines.ram, engines.disk)]
    size_bytes = (await engines.ram.snapshot()).state.models[model.name].footprint.weights_bytes
    memory = Memory(size_bytes)
    pretrained = FromPretrained(model.folder, memory)
    whole = pretrained.load()
    answers.append(answer(whole, model.folder, TEXTS))
    assign = Assign(model.folder, memory, whole)
    assign.run()
    answers.append(answer(assign.module, model.folder, TEXTS))
    contenders: dict[str, Callable[[], Awaitable[float]]] = {
        ENGINE_RAM: lambda: _engine_load(engines.ram, model, "ram"),
        ENGINE_DISK: lambda: _engine_load(engines.disk, model, "disk"),
        "memcpy": _timed(BareCopy(memory).run),
        "read": _timed(BareRead(model.folder).run),
        FROM_PRETRAINED: _timed(pretrained.run),
        "the same, fresh memory": _timed(FromPretrainedFresh(model.folder).run),
        "load_file, assign, to(device)": _timed(assign.run),
        "to(cpu), to(device)": _timed(OutAndIn(whole, memory).run),
    }
    times = await _rounds(contenders, rounds, model.name)
    for engine in (engines.ram, engines.disk):
        await _carried_out(engine, Evict(model.name))
    return Result(model.name, model.synthetic, size_bytes, times, tuple(map(_sha256, answers)))


async def _rounds(
    contenders: dict[str, Callable[[], Awaitable[float]]], rounds: int, title: str
) -> dict[str, tuple[float, ...]]:
    random = Random(7)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        sys.stderr.write(f"{title}: round {number} of {rounds}\n")
        for name in random.sample(list(contenders), len(contenders)):
            gc.collect()  # what the last one left is not charged to the next
            seconds = await contenders[name]()
            if number:
                times[name].append(seconds)
    return {name: tuple(seconds) for name, seconds in times.items()}


def _timed(run: Callable[[], float]) -> Callable[[], Awaitable[float]]:
    async def timed() -> float:
        return run()

    return timed


async def _engine_load(engine: Engine, model: Model, tier: Tier) -> float:
    """Seconds from the command to ready, as the engine reports them."""
    await _carried_out(engine, Evict(model.name))
    switch = await _carried_out(engine, Load(model.name, "gpu0"))
    if switch.tier != tier:
        raise SystemExit(f"{model.name} was loaded from {switch.tier}, not from {tier}; this run is worth nothing")
    return switch.total_s


async def _first_answer(engine: EngineAPI, model: Model) -> list[list[float]]:
    """Prepares and loads the model."""
    await _carried_out(engine, Load(model.name, "gpu0"))
    return (await engine.embed(model.name, TEXTS)).vectors


async def _carried_out(engine: EngineAPI, command: Command) -> Switch:
    answered = await engine.submit(Submission(str(uuid.uuid4()), command))
    if not isinstance(answered, Done) or answered.switch is None:
        raise SystemExit(f"the engine did not carry out {command}: {answered}")
    return answered.switch


def _sha256(vectors: Iterable[Iterable[float]]) -> str:
    flat = array("f", (figure for vector in vectors for figure in vector))
    return hashlib.sha256(flat.tobytes()).hexdigest()


if __name__ == "__main__":
    raise SystemExit(main())
