"""A whole benchmark: one subject after another, then everything put back, whether it was finished, stopped or broke."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol as Seam

from msgspec.structs import replace

from engine.api import EngineAPI, Snapshot
from engine.bench.machine import this_machine
from engine.bench.measure import Bench, Progress, Protocol
from engine.bench.page_cache import PageCache
from engine.bench.put_back import put_back
from engine.bench.quiet import kept_quiet
from engine.bench.records import FORMAT_VERSION, Omission, Run, Series, Subject
from engine.core.state import Resident, State
from engine.prepared import slab_file


class Watcher(Seam):
    """Whoever follows a benchmark."""

    def quietened(self, sample_s: float) -> None:
        """The engine reads its devices at this interval meanwhile."""
        ...

    def progress(self, now: Progress) -> None: ...

    def measured(self, found: Series | Omission) -> None: ...

    def putting_back(self) -> None: ...

    def not_put_back(self, what: str) -> None: ...


async def measure_all(
    api: EngineAPI,
    before: State,
    subjects: Sequence[Subject],
    agreed: Collection[Resident],
    protocol: Protocol,
    cache: Path,
    watcher: Watcher,
) -> None:
    """Measure `subjects`, for which the `agreed` residents may leave, while the engine keeps quiet, and bring back the state
    `before`.

    `cache` is the engine's folder of prepared models. Cancelling it puts everything back too. Raises EngineError.
    """
    files = PageCache(lambda model: slab_file(before.models[model].spec, cache))
    may_leave = {resident.model for resident in agreed} | {subject.leaving for subject in subjects}
    bench = Bench(api, protocol, may_leave, files, watcher.progress)
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
) -> Run:
    """The run of an engine of this version that began at `before`, with the facts of this machine. `sample_s`: seconds between
    two readings of a device meanwhile, if it got so far."""
    return Run(
        FORMAT_VERSION,
        before.at_s,
        version,
        replace(this_machine(after.state.devices.values()), sample_s=sample_s),
        warm_up,
        tuple(result for result in results if isinstance(result, Series)),
        tuple(result for result in results if isinstance(result, Omission)),
    )
