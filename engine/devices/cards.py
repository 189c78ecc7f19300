"""What is known of an NVIDIA card: what never changes, and one sample of what does. A missing figure is None, never 0."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from msgspec import Struct

from engine.core.devices import Health


class GpuFacts(Struct, frozen=True):
    """A card or a MIG device, as the driver described it when it was found."""

    index: int
    """The card's place in the order of the PCI bus; a MIG device has its card's."""
    uuid: str
    """`GPU-…` or `MIG-…`: the only name that holds through restarts and for CUDA and NVML alike."""
    name: str
    total_bytes: int | None
    reserved_bytes: int | None
    """Of the total, what the driver keeps for itself; None where the driver counts it as used."""
    capability: tuple[int, int] | None
    """CUDA compute capability: (6, 1) for Pascal's GT 1030."""
    driver_version: str | None
    pcie_generation: int | None
    """Now: an idle card saves power on a lower one."""
    pcie_max_generation: int | None
    pcie_width: int | None
    pcie_max_width: int | None
    is_mig: bool = False
    is_partitioned: bool = False
    """A card in MIG mode: its MIG devices run models, the card itself does not."""
    parent_uuid: str | None = None
    """Of a MIG device: its card."""
    bus_id: str | None = None
    """Where it is on the PCI bus, as nvidia-smi writes it: 00000000:01:00.0; a MIG device is where its card is."""


class GpuMemory(Struct, frozen=True):
    """One answer of the driver: used + free + reserved = total."""

    total_bytes: int
    used_bytes: int
    """By all processes; with what the driver keeps for itself where `reserved_bytes` is None."""
    free_bytes: int
    reserved_bytes: int | None


class GpuProcess(Struct, frozen=True):
    """A process that holds memory on the card."""

    pid: int
    name: str | None
    """None where it can't be seen, as from inside a container."""
    used_bytes: int | None
    user: str | None = None
    command: str | None = None
    """With its arguments."""
    started_s: int | None = None
    """Seconds since the epoch."""


Figure: TypeAlias = Literal[
    "processes",
    "temperature_c",
    "power_w",
    "power_limit_w",
    "utilization_percent",
    "clocks_mhz",
    "fan_percent",
    "performance_state",
]
FIGURES: Final[tuple[Figure, ...]] = get_args(Figure)


class Activity(Struct, frozen=True):
    """What costs the driver more to tell, and is therefore asked for less often: a field for each Figure."""

    processes: tuple[GpuProcess, ...] | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    utilization_percent: int | None = None
    clocks_mhz: tuple[int, int] | None = None
    """Of the graphics engine and of the memory."""
    fan_percent: int | None = None
    performance_state: int | None = None


class GpuSample(Struct, frozen=True):
    """A card at one moment. `stale` keeps the last figures, and their time; in every other trouble there are none."""

    uuid: str
    health: Health
    reason: str = ""
    """Why the health is not ok, and what to do, in words for the operator."""
    memory: GpuMemory | None = None
    activity: Activity = Activity()
    at_s: float | None = None
    """Wall-clock time of the last good memory figures, seconds since the epoch; None when there never were any."""
    activity_at_s: float | None = None
    """The same of `activity`."""
    mono_s: float | None = None
    """`at_s` on the steady clock, for its age."""
    cause: str = ""
    """What its trouble comes from, where that is not the card itself; see `Reading`."""
