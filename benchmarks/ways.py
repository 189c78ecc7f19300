"""The ways to have a model's weights on the device that are compared, each ready to be run over and over."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct
from transformers import PreTrainedModel

from benchmarks import engines
from benchmarks.readers import OPTIONAL, why_not, with_safetensors
from benchmarks.results import ENGINE_COLD, ENGINE_DISK, ENGINE_RAM, FROM_PRETRAINED
from benchmarks.rivals import (
    Answering,
    Assign,
    BareCopy,
    BareRead,
    FromPretrained,
    FromPretrainedFresh,
    Memory,
    OutAndIn,
)
from benchmarks.subjects import Model
from engine.bench.page_cache import COLD_SHARE, drop_file, slab_file
from engine.core.models import ModelSpec
from engine.core.plans import Tier
from engine.runtime.engine import Engine
from engine.weights.header import checkpoint_files

TEXTS: Final = ["a cat sits on the mat", "a stock market"]
Vectors: TypeAlias = list[list[float]]


class Engines(Struct, frozen=True):
    """Two that differ only in whether their RAM tier has room; both use one cache."""

    ram: Engine
    disk: Engine
    cache: Path


class Way(Struct, frozen=True):
    """One way."""

    run: Callable[[], Awaitable[float]]
    """Seconds until every byte is on the device."""
    make_ready: Callable[[], Awaitable[None]]
    """Before each run, and not timed."""
    answer: Callable[[], Awaitable[Vectors]] | None
    """What the model that it loaded makes of TEXTS."""
    pids: tuple[int, ...]
    """The processes that do it."""


async def all_ways(held: Engines, model: Model, memory: Memory) -> tuple[dict[str, Way], dict[str, str]]:
    """The ways by name, and those that can't be run here, with why."""
    answering = Answering(model.folder)
    pretrained = FromPretrained(model.folder, memory)
    assign = Assign(model.folder, memory, pretrained.module, with_safetensors)
    out_and_in = OutAndIn(pretrained.module, memory)
    read = BareRead(model.folder)
    ways = {
        ENGINE_RAM: await _engine(held, model, "ram", _nothing),
        ENGINE_DISK: await _engine(held, model, "disk", _nothing),
        ENGINE_COLD: await _engine(held, model, "disk", lambda: _cold_slab(held, model)),
        "memcpy": _alone(BareCopy(memory).run),
        "read": _alone(read.run),
        "read, cold disk": _alone(read.run, model.folder),
        FROM_PRETRAINED: _loaded(pretrained, answering),
        "from_pretrained, to(device), cold disk": _loaded(pretrained, answering, model.folder),
        "from_pretrained into fresh memory": _alone(FromPretrainedFresh(model.folder).run),
        "load_file, assign, to(device)": _loaded(assign, answering),
        "to(cpu), to(device)": _alone(out_and_in.run),
    }
    not_run = {"accelerate's CPU offload hook": "it moves weights to a card, and the device here is host RAM"}
    return ways | dict(_optional(model, memory, pretrained.module, answering, not_run)), not_run


def _optional(
    model: Model, memory: Memory, whole: PreTrainedModel, answering: Answering, not_run: dict[str, str]
) -> Iterator[tuple[str, Way]]:
    for name, (package, reader) in OPTIONAL.items():
        if reason := why_not(package):
            not_run[name] = reason
        else:
            yield name, _loaded(Assign(model.folder, memory, whole, reader), answering)
    name = "from_pretrained with device_map, to(device)"
    if reason := why_not("accelerate"):
        not_run[name] = reason
    else:
        yield name, _loaded(FromPretrained(model.folder, memory, device_map="cpu"), answering)


async def _engine(held: Engines, model: Model, tier: Tier, before: Callable[[], None]) -> Way:
    engine = held.ram if tier == "ram" else held.disk

    async def make_ready() -> None:
        await engines.take_off(engine, model.name)
        before()

    async def answer() -> Vectors:
        return (await engine.embed(model.name, TEXTS)).vectors

    worker = await engines.worker_pid(engine)
    pids = (os.getpid(), *((worker,) if worker else ()))
    return Way(lambda: engines.load(engine, model.name, tier), make_ready, answer, pids)


def _loaded(rival: FromPretrained | Assign, answering: Answering, cold: Path | None = None) -> Way:
    async def answer() -> Vectors:
        return answering.answer(rival.module, TEXTS)

    alone = _alone(rival.run, cold)
    return Way(alone.run, alone.make_ready, answer, alone.pids)


def _alone(run: Callable[[], float], cold: Path | None = None) -> Way:
    """A way of this process; with the checkpoint in `cold` out of the page cache."""

    async def timed() -> float:
        return run()

    async def make_ready() -> None:
        for path in checkpoint_files(cold) if cold is not None else ():
            _drop(path)

    return Way(timed, make_ready, None, (os.getpid(),))


def _cold_slab(held: Engines, model: Model) -> None:
    _drop(slab_file(ModelSpec(model.name, (f"path:{model.folder}",), "embedding"), held.cache))


def _drop(path: Path) -> None:
    if (share := drop_file(path)) > COLD_SHARE:
        raise SystemExit(f"the kernel keeps {share:.0%} of {path} in memory; this run is worth nothing")


def _nothing() -> None:
    """There is nothing to do before."""
