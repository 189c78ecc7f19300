"""A whole benchmark: what it is to measure and who has to leave for it, asked before the minutes of measuring; then one subject
after another while the engine keeps quiet, and everything put back, whether it was finished, stopped or broke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import permutations, product
from pathlib import Path
from typing import Final, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from engine.api import EngineAPI, EngineError, Snapshot, UnknownModel
from engine.bench.measure import Bench, Progress, Schedule
from engine.bench.page_cache import PageCache, slab_file
from engine.bench.put_back import put_back
from engine.bench.records import BENCH_VERSION, BenchResult, BenchSubject, FromTier, Omission, Series
from engine.core.commands import Load
from engine.core.model_names import model_meant, unknown_model
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import Plan
from engine.core.state import Resident, State
from engine.recording.host_facts import this_machine

LEASE_S: Final = 15.0
RENEWAL_S: Final = 5.0
"""Two renewals may come late or be lost before the engine goes on."""


@asynccontextmanager
async def kept_quiet(api: EngineAPI, renewal_s: float = RENEWAL_S) -> AsyncIterator[float]:
    """The seconds between two readings of a device meanwhile. Raises EngineError."""
    sample_s = await api.keep_quiet(LEASE_S)
    renewing = asyncio.create_task(_renew(api, renewal_s), name="keeping the engine quiet")
    try:
        yield sample_s
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        with suppress(EngineError):  # it goes on by itself, if it is there at all
            await api.keep_quiet(0)


async def _renew(api: EngineAPI, renewal_s: float) -> None:
    """An engine that can't be reached is noticed by what is measured."""
    while True:
        await asyncio.sleep(renewal_s)
        await api.keep_quiet(LEASE_S)


_Now = TypeVar("_Now", contravariant=True)
_Found = TypeVar("_Found", contravariant=True)


class Watcher(Protocol[_Now, _Found]):
    """Whoever follows a benchmark: hears where it is, and what it finds."""

    def quietened(self, sample_s: float) -> None:
        """The engine reads its devices at this interval meanwhile."""
        ...

    def progress(self, now: _Now) -> None: ...

    def measured(self, found: _Found) -> None: ...

    def putting_back(self) -> None: ...

    def not_put_back(self, what: str) -> None: ...


async def measure_all(
    api: EngineAPI,
    before: State,
    subjects: Sequence[BenchSubject],
    agreed: Collection[Resident],
    schedule: Schedule,
    cache: Path,
    watcher: Watcher[Progress, Series | Omission],
) -> None:
    """Measure `subjects`, for which the `agreed` residents may leave, while the engine keeps quiet, and bring back the state
    `before`.

    `cache` is the engine's folder of prepared models. Cancelling it puts everything back too. Raises EngineError.
    """
    files = PageCache(lambda model: slab_file(before.models[model].spec, cache))
    may_leave = {resident.model for resident in agreed} | {subject.leaving for subject in subjects}
    bench = Bench(api, schedule, may_leave, files, watcher.progress)
    try:
        async with kept_quiet(api) as sample_s:
            watcher.quietened(sample_s)
            for subject in subjects:
                watcher.measured(await bench.measure(subject))
    finally:
        watcher.putting_back()
        for trouble in await put_back(api, before):
            watcher.not_put_back(trouble)


def run_of(
    version: str,
    before: Snapshot,
    after: Snapshot,
    warm_up: int,
    sample_s: float | None,
    results: Sequence[Series | Omission],
) -> BenchResult:
    """The run of an engine of this version that began at `before`, with the facts of this machine. `sample_s`: seconds between
    two readings of a device meanwhile, if it got so far."""
    return BenchResult(
        BENCH_VERSION,
        before.at_s,
        version,
        replace(this_machine(after.state.devices.values()), sample_s=sample_s),
        warm_up,
        tuple(result for result in results if isinstance(result, Series)),
        tuple(result for result in results if isinstance(result, Omission)),
    )


class Chosen(Struct, frozen=True):
    """Every one of `models`, or pair of them, on every one of `devices` from every one of `tiers`."""

    models: tuple[ModelName, ...]
    devices: tuple[DeviceId, ...]
    tiers: tuple[FromTier, ...]
    pairs: bool = False
    """Every model out for every other, not only for itself."""

    @property
    def subjects(self) -> tuple[BenchSubject, ...]:
        """What there is to measure, each once; on a ready model nobody leaves for anybody."""
        switches = list(permutations(self.models, 2)) if self.pairs else [("", name) for name in self.models]
        wanted = product(switches, self.devices, self.tiers)
        every = (BenchSubject(name, at, tier, "" if tier == "resident" else out) for (out, name), at, tier in wanted)
        return tuple(dict.fromkeys(every))


def gpus_of(state: State) -> tuple[DeviceId, ...]:
    """The devices that are measured when nobody names any: the GPUs, or the CPU where there is none."""
    return tuple(device for device in state.devices if device != CPU) or (CPU,)


def subjects_of(state: State, chosen: Chosen) -> tuple[BenchSubject, ...]:
    """What there is to measure. Raises UnknownModel, and EngineError for a device that is not there."""
    known_models(state, chosen.models)
    for device in chosen.devices:
        if device not in state.devices:
            raise EngineError(f"there is no device {device}; there are {', '.join(state.devices)}")
    return chosen.subjects


def loads_of(subjects: Sequence[BenchSubject]) -> list[Load]:
    """What measuring them loads, each once."""
    moved = {(name, s.device) for s in subjects for name in (s.model, s.leaving) if name}
    return [Load(name, device) for name, device in sorted(moved)]


def known_models(state: State, models: Sequence[ModelName]) -> tuple[ModelName, ...]:
    """`models`, each once. Raises UnknownModel for one that is none."""
    specs = {name: known.spec for name, known in state.models.items()}
    meant = {name: model_meant(specs, name) for name in models}
    for name, model in meant.items():
        if model is None:
            raise UnknownModel(unknown_model(specs, name))
    return tuple(dict.fromkeys(model for model in meant.values() if model))


async def touched(api: EngineAPI, state: State, loads: Sequence[Load]) -> list[Resident]:
    """The residents that measuring takes off their devices: what it loads itself, and who must make room for that."""
    leaving = {load.model for load in loads}
    for load in loads:
        plan = await api.plan(load)
        if isinstance(plan, Plan):
            leaving |= {victim.model for victim in plan.victims}
    return [resident for resident in state.residents if resident.model in leaving]
