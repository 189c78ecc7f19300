"""Readings of NVIDIA cards and of slices of them: what our workers hold there, and what others leave no room for.

A card is read as the slice of itself that has all of it. What others hold is admitted only once two samples agree; until the
first time a device is `starting`, afterwards the last settled figure stands.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Protocol

from msgspec.structs import replace

from engine.core.devices import DeviceSpec, Neighbour, Reading
from engine.core.names import DeviceId
from engine.core.sizes import MIB
from engine.devices.cards import GpuSample
from engine.devices.host import HostMemory, external_bytes
from engine.devices.troubles import Library

SETTLED_WITHIN_BYTES: Final = 16 * MIB
"""Samples that differ by less agree. The driver gives memory out in pages of 2 MiB, and a desktop takes and returns a few of
them each second; the smallest model worth moving is several times larger."""


def settled_external(previous: GpuSample, current: GpuSample, our_bytes: int, our_pids: Collection[int]) -> int | None:
    """Bytes in use on the card that are not ours; None while that can't be said, and what was said last still holds.

    Nothing is said unless memory stood still from `previous` to `current`: while a process comes or goes, its bytes are for
    a moment in the card's figure and in no list, and would look like somebody else's. `our_bytes` is what our processes hold
    by their own account, CUDA contexts included. The driver's account of `our_pids` is heard beside it only where it was
    taken between the two readings: an older one has missed what moved since. Of the two the greater counts, because in a
    container the driver may list nobody, or know our processes by other numbers.
    """
    before, now = previous.memory, current.memory
    if before is None or now is None or previous.health != "ok" or current.health != "ok":
        return None
    if abs(now.used_bytes - before.used_bytes) > SETTLED_WITHIN_BYTES:
        return None
    return max(0, now.used_bytes - max(our_bytes, _listed_between(previous, current, our_pids)))


def _listed_between(previous: GpuSample, current: GpuSample, our_pids: Collection[int]) -> int:
    """What the driver said, between the two readings of memory, that our processes hold."""
    if previous.at_s is None or previous.activity_at_s is None or current.at_s is None:
        return 0
    if not previous.at_s <= previous.activity_at_s <= current.at_s:
        return 0
    return sum(p.used_bytes or 0 for p in previous.activity.processes or () if p.pid in our_pids)


class CardSamples(Protocol):
    """The driver, as far as it is needed here; `devices.nvml.NvmlProbe` is one."""

    @property
    def library(self) -> Library: ...

    async def sample(self) -> tuple[GpuSample, ...]: ...

    async def close(self) -> None: ...


class CardReader:
    """Keeps the last sample and the last settled figure of each card."""

    def __init__(self, probe: CardSamples, uuids: Mapping[DeviceId, str]) -> None:
        self._probe: Final = probe
        self._uuids: Final = uuids
        """The card that each device is, or is a slice of."""
        self._samples: dict[str, GpuSample] = {}
        self._external: dict[str, int] = {}

    async def read(
        self, specs: Mapping[DeviceId, DeviceSpec], used_bytes: Mapping[DeviceId, int], pids: Mapping[DeviceId, int]
    ) -> dict[DeviceId, Reading]:
        """A reading of every device on a card. `used_bytes` and `pids`: what our workers hold, and who they are."""
        if not self._uuids:
            return {}
        samples = {sample.uuid: sample for sample in await self._probe.sample()}
        ours = {pids[device] for device in self._uuids if device in pids}
        for sample in samples.values():
            self._settle(sample, self._our_bytes(sample.uuid, used_bytes), ours)
        readings = {
            device: self._reading(specs[device], samples.get(uuid), used_bytes, ours)
            for device, uuid in self._uuids.items()
        }
        self._samples = samples
        return readings

    async def close(self) -> None:
        await self._probe.close()

    def _settle(self, sample: GpuSample, our_bytes: int, ours: Collection[int]) -> None:
        before = self._samples.get(sample.uuid)
        settled = None if before is None else settled_external(before, sample, our_bytes, ours)
        # Otherwise the last settled figure stands: budgets follow it, and a spike while one of our own loads is under way would
        # take room from models as if somebody else had come.
        if settled is not None:
            self._external[sample.uuid] = settled

    def _reading(
        self, spec: DeviceSpec, sample: GpuSample | None, used_bytes: Mapping[DeviceId, int], ours: Collection[int]
    ) -> Reading:
        if sample is None:
            library = self._probe.library
            return Reading("lost", library.words if library.state != "ok" else "the driver does not list it any more")
        reading = Reading(sample.health, sample.reason, at_s=sample.at_s or 0.0)
        if sample.memory is None:
            return reading
        activity = sample.activity
        reading = replace(
            reading,
            temperature_c=activity.temperature_c,
            utilization_percent=activity.utilization_percent,
            neighbours=tuple(
                Neighbour(p.pid, p.name or "", p.used_bytes) for p in activity.processes or () if p.pid not in ours
            ),
        )
        external = self._external.get(sample.uuid)
        if external is None:
            return replace(reading, health="starting", reason="its memory has not been read twice alike yet")
        own_bytes = used_bytes[spec.id]
        # The card, as if it were host memory that its slices share: what is left of it in all may be less than this slice has.
        left = HostMemory(sample.memory.total_bytes, self._left_bytes(sample, external, used_bytes))
        taken_bytes = external_bytes(spec.total_bytes, own_bytes, left)
        return replace(reading, used_bytes=own_bytes + taken_bytes, external_bytes=taken_bytes)

    def _left_bytes(self, sample: GpuSample, external: int, used_bytes: Mapping[DeviceId, int]) -> int:
        """What neither others nor any of our workers hold of the card."""
        assert sample.memory is not None
        usable_bytes = sample.memory.total_bytes - (sample.memory.reserved_bytes or 0)
        return max(0, usable_bytes - external - self._our_bytes(sample.uuid, used_bytes))

    def _our_bytes(self, uuid: str, used_bytes: Mapping[DeviceId, int]) -> int:
        return sum(used_bytes[device] for device, card in self._uuids.items() if card == uuid)
