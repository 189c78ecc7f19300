"""Readings of NVIDIA cards and of slices of them: what our workers hold there, and what others leave no room for.

A card is read as the slice of itself that has all of it. What others hold is admitted only once two samples agree; until the
first time a device is `starting`, afterwards the last settled figure stands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from engine.core.devices import DRIVER, DeviceSpec, Neighbour, Reading
from engine.core.names import DeviceId
from engine.core.sizes import MIB
from engine.devices.cards import GpuSample
from engine.devices.host import HostMemory, external_bytes
from engine.devices.troubles import Library, not_listed

SETTLED_WITHIN_BYTES: Final = 16 * MIB
"""Samples that differ by less agree. The driver gives memory out in pages of 2 MiB, and a desktop takes and returns a few of
them each second; the smallest model worth moving is several times larger."""


class OwnUse(Struct, frozen=True):
    """What our worker on a device holds by its own account, and how far that account goes."""

    pid: int | None = None
    """None while it has no process."""
    used_bytes: int = 0
    """What it said last that it holds, its CUDA context included."""
    under_way: int = 0
    """Requests that it has not answered. Each may take memory or give it back, and what it holds is told with the answer."""
    asked: int = 0
    """How many requests it has had: between two equal figures its account stood still."""


def settled_external(
    previous: GpuSample,
    current: GpuSample,
    our_bytes: int | None,
    our_pids: Collection[int],
    said_bytes: int | None = None,
) -> int | None:
    """Bytes in use on the card that are not ours; None while that can't be said, and `said_bytes`, what was said last, still
    holds.

    Nothing is said unless memory stood still from `previous` to `current`: while a process comes or goes, its bytes are for
    a moment in the card's figure and in no list, and would look like somebody else's. `our_bytes` is what our processes held
    all that time by their own account, CUDA contexts included; None when that account was moving. The driver's account of
    `our_pids` is heard beside it only where it was taken between the two readings: an older one has missed what moved since.
    Of the two the greater counts, because in a container the driver may list nobody, or know our processes by other numbers.
    """
    before, now = previous.memory, current.memory
    if before is None or now is None or previous.health != "ok" or current.health != "ok":
        return None
    if abs(now.used_bytes - before.used_bytes) > SETTLED_WITHIN_BYTES:
        return None
    listed_bytes = _listed_between(previous, current, our_pids)
    if our_bytes is not None:
        return max(0, now.used_bytes - max(our_bytes, listed_bytes))
    if not listed_bytes:
        return None
    # The list may be of either reading's moment, and the little that moved between them be ours: what was said is doubted only
    # where neither reading has room for it.
    least_bytes, most_bytes = (max(0, held - listed_bytes) for held in sorted((before.used_bytes, now.used_bytes)))
    return least_bytes if said_bytes is None else min(max(said_bytes, least_bytes), most_bytes)


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
        self._asked: dict[DeviceId, int] = {}
        """How many requests each worker had had at the last sample."""
        self._our_pids: set[int] = set()
        """Of all our workers so far: the driver goes on listing one that was killed until its memory is free."""

    async def read(
        self, specs: Mapping[DeviceId, DeviceSpec], look: Callable[[], Mapping[DeviceId, OwnUse]]
    ) -> dict[DeviceId, Reading]:
        """A reading of every device on a card. `look`: what our workers hold at the moment when it is called; it is called as
        soon as the driver has answered."""
        if not self._uuids:
            return {}
        before = {device: use.asked for device, use in look().items() if not use.under_way}
        samples = {sample.uuid: sample for sample in await self._probe.sample()}
        own = look()
        self._our_pids |= {use.pid for use in own.values() if use.pid is not None}
        still = {
            device
            for device, use in own.items()
            if not use.under_way and use.asked == self._asked.get(device) == before.get(device)
        }
        for sample in samples.values():
            self._settle(sample, own, still)
        readings = {
            device: self._reading(specs, device, samples.get(uuid), own, still) for device, uuid in self._uuids.items()
        }
        self._samples = samples
        # A request that ended between this sample and the next spoils the next: its answer may be older than the memory.
        self._asked = {device: use.asked for device, use in own.items() if not use.under_way}
        return readings

    async def close(self) -> None:
        await self._probe.close()

    def _settle(self, sample: GpuSample, own: Mapping[DeviceId, OwnUse], still: Collection[DeviceId]) -> None:
        before = self._samples.get(sample.uuid)
        if before is None:
            return
        certain = all(device in still for device in self._on(sample.uuid))
        our_bytes = self._our_bytes(sample.uuid, own) if certain else None
        said_bytes = self._external.get(sample.uuid)
        settled = settled_external(before, sample, our_bytes, self._our_pids, said_bytes)
        # Otherwise the last settled figure stands: budgets follow it, and a spike while one of our own loads is under way would
        # take room from models as if somebody else had come.
        if settled is not None:
            self._external[sample.uuid] = settled

    def _reading(
        self,
        specs: Mapping[DeviceId, DeviceSpec],
        device: DeviceId,
        sample: GpuSample | None,
        own: Mapping[DeviceId, OwnUse],
        still: Collection[DeviceId],
    ) -> Reading:
        if sample is None:
            library = self._probe.library
            cause = "" if library.state in ("ok", "no_devices") else DRIVER
            return Reading("lost", not_listed(specs[device], library), cause=cause)
        reading = Reading(
            sample.health, sample.reason, at_s=sample.at_s or 0.0, mono_s=sample.mono_s, cause=sample.cause
        )
        if sample.memory is None:
            return reading
        activity = sample.activity
        usable_bytes = sample.memory.total_bytes - (sample.memory.reserved_bytes or 0)
        reading = replace(
            reading,
            total_bytes=self._total_bytes(specs, device, usable_bytes),
            temperature_c=activity.temperature_c,
            utilization_percent=activity.utilization_percent,
            power_w=activity.power_w,
            power_limit_w=activity.power_limit_w,
            clocks_mhz=activity.clocks_mhz,
            fan_percent=activity.fan_percent,
            performance_state=activity.performance_state,
            driver=self._probe.library.versions,
            neighbours=tuple(
                Neighbour(p.pid, p.name or "", p.used_bytes, p.user or "", p.command or "", p.started_s)
                for p in activity.processes or ()
                if p.pid not in self._our_pids
            ),
        )
        external = self._external.get(sample.uuid)
        if external is None:
            return replace(reading, health="starting", reason="its memory has not been read twice alike yet")
        holds = self._holds(sample.uuid, sample.memory.used_bytes - external, own, still)
        # The card, as if it were host memory that its slices share: what is left of it in all may be less than this slice has.
        left_bytes = max(0, usable_bytes - external - sum(holds.values()))
        total_bytes = self._total_bytes(specs, device, usable_bytes)
        taken_bytes = external_bytes(total_bytes, holds[device], HostMemory(usable_bytes, left_bytes))
        return replace(reading, used_bytes=holds[device] + taken_bytes, external_bytes=taken_bytes)

    def _total_bytes(self, specs: Mapping[DeviceId, DeviceSpec], device: DeviceId, usable_bytes: int) -> int:
        """What the card gives to the device now: all, or its slice, in proportion where the card is smaller than its slices."""
        spec = specs[device]
        if spec.is_whole_card:
            return usable_bytes
        sliced_bytes = sum(specs[each].total_bytes for each in self._on(self._uuids[device]))
        return spec.total_bytes * min(usable_bytes, sliced_bytes) // sliced_bytes

    def _holds(
        self, uuid: str, ours_bytes: int, own: Mapping[DeviceId, OwnUse], still: Collection[DeviceId]
    ) -> dict[DeviceId, int]:
        """Bytes of each of our workers on the card, which hold `ours_bytes` in all by the driver's figure. Where that is more
        than they say, it is the ones whose account is moving that hold the rest."""
        holds = {device: own[device].used_bytes for device in self._on(uuid)}
        moving = [device for device in holds if device not in still]
        unsaid_bytes = max(0, ours_bytes - sum(holds.values()))
        for device in moving:
            holds[device] += unsaid_bytes // len(moving)
        return holds

    def _our_bytes(self, uuid: str, own: Mapping[DeviceId, OwnUse]) -> int:
        return sum(own[device].used_bytes for device in self._on(uuid))

    def _on(self, uuid: str) -> list[DeviceId]:
        """The devices that are the card, or slices of it."""
        return [device for device, card in self._uuids.items() if card == uuid]
