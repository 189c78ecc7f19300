"""The recorded monitor: each device's memory over time, one JSON line a sample, and what the samples were taken on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct

from engine.api import Hello, Snapshot
from engine.core.devices import DeviceSpec, Health
from engine.core.models import Dtype
from engine.core.names import DeviceId, ModelName
from engine.core.serialization import to_sealed_json
from engine.core.state import DeviceState, answered
from engine.core.tasks import TaskKind
from engine.recording.files import Bounds, NotWritten, RotatedFile, SealedLines, newest_sealed, sealed_lines
from engine.recording.host_facts import HostFacts

MEMORY_FILE: Final = "memory.jsonl"
PRESSURE_S: Final = 60.0
"""Evictions of models for others that are no further apart than this are one spell of pressure."""


class ModelFacts(Struct, frozen=True):
    """A model of the catalog, as the engine found it when it started."""

    name: ModelName
    task: TaskKind
    dtype: Dtype
    source: str
    synthetic: bool
    footprint_bytes: int
    trouble: str = ""
    """Why it can't be loaded; empty when it can."""


class EngineFacts(Struct, frozen=True, tag="engine"):
    """An engine has started; the samples that follow are its own."""

    at_s: float
    hello: Hello
    machine: HostFacts
    devices: tuple[DeviceSpec, ...]
    models: tuple[ModelFacts, ...]
    interval_s: float
    """Between two samples, when no model is evicted for another."""


class DeviceSample(Struct, frozen=True, omit_defaults=True):
    """A device at one moment. A figure that it did not give is None, never 0."""

    id: DeviceId
    health: Health
    budget_bytes: int
    used_bytes: int | None = None
    external_bytes: int | None = None
    age_s: float | None = None
    """How old its figures were; None before the first."""
    models: dict[ModelName, int] = {}
    """Bytes of each resident, weights and workspace, loads under way included."""
    leases: int = 0
    """Running uses of its residents."""
    answered: tuple[ModelName, ...] = ()
    """Which of its residents ran a request since the sample before."""

    @property
    def models_bytes(self) -> int:
        return sum(self.models.values())


class Sample(Struct, frozen=True, tag="sample"):
    """All devices at one moment."""

    at_s: float
    devices: tuple[DeviceSample, ...]


MemoryLine: TypeAlias = EngineFacts | Sample


class MemoryLog:
    """Appends lines to the files in `folder`."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self._file = RotatedFile(folder, MEMORY_FILE, bounds)

    async def append(self, *lines: MemoryLine) -> None:
        """Write a line each. Raises NotWritten, saying what is not kept because of it."""
        try:
            await self._file.append(b"".join(to_sealed_json(line) + b"\n" for line in lines))
        except NotWritten as trouble:
            raise trouble.so_that("the devices' memory is not recorded") from trouble


def newest_memory(folder: Path, most_bytes: int) -> Iterator[MemoryLine]:
    """The lines of the newest `most_bytes` in `folder`, oldest first; damaged ones are left out. Raises OSError."""
    return newest_sealed(folder, MEMORY_FILE, MemoryLine, most_bytes)


def recorded_memory(folder: Path) -> SealedLines[MemoryLine]:
    """The lines in `folder`."""
    return sealed_lines(folder, MEMORY_FILE, MemoryLine)


def last_read(folder: Path) -> dict[str, float]:
    """When each card last gave figures, by UUID, seconds since the epoch, as far as `folder` has it."""
    found: dict[str, float] = {}
    uuids: dict[DeviceId, str] = {}
    for line in recorded_memory(folder).values:
        if isinstance(line, EngineFacts):
            uuids = {spec.id: spec.uuid for spec in line.devices if spec.uuid}
        else:
            ages_s = {uuids[d.id]: d.age_s for d in line.devices if d.id in uuids and d.age_s is not None}
            found |= {uuid: line.at_s - age_s for uuid, age_s in ages_s.items()}
    return found


def sample_of(snapshot: Snapshot, before_s: float) -> Sample:
    """The devices now; `before_s` is when the sample before was taken."""
    devices = snapshot.state.devices.values()
    return Sample(snapshot.at_s, tuple(_device_sample(snapshot, device, before_s) for device in devices))


def _device_sample(snapshot: Snapshot, device: DeviceState, before_s: float) -> DeviceSample:
    spec, reading = device.spec, device.reading
    residents = [r for r in snapshot.state.on(spec.id) if r.stage != "pending"]
    return DeviceSample(
        spec.id,
        reading.health,
        snapshot.budgets.get(spec.id, 0),
        reading.used_bytes,
        reading.external_bytes,
        round(max(0.0, snapshot.at_s - reading.at_s), 3) if reading.at_s else None,
        {r.model: r.footprint.total_bytes for r in residents},
        sum(r.leases for r in residents),
        tuple(r.model for r in residents if answered(r, before_s)),
    )
