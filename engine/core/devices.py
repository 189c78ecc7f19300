"""Devices: what each is, and what its last reading said."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from engine.core.names import DeviceId

Health: TypeAlias = Literal["ok", "starting", "stale", "lost", "unsupported", "failed", "not answering"]
"""`ok` is the only state in which a model may be placed on the device. `not answering`: its worker gives no sign of life."""


class DeviceSpec(Struct, frozen=True, gc=False):
    """A place that can execute a model."""

    id: DeviceId
    title: str
    """What a person calls it: "virtual GPU in host RAM", "NVIDIA GeForce GT 1030"."""
    kind: Literal["gpu", "cpu"]
    backing: str
    """Whose memory it is: `ram`, `cuda:0`, or `host` for the CPU."""
    total_bytes: int
    """Of a card as of its last reading: ECC, MIG and virtual machines change it."""
    fraction: float
    """Share of the total that the engine may fill, 0 to 1."""
    uuid: str | None = None
    """Of the card, or of the one that it is a slice of; None in host RAM."""
    bus_id: str | None = None
    """Where that card is on the PCI bus; None where nobody told."""
    is_whole_card: bool = False
    """Whether all of a card is its own, however much that is; a slice has what the configuration says."""

    @property
    def on_card(self) -> bool:
        """Whether it is an NVIDIA card, or a slice of one."""
        return self.backing.startswith("cuda:")


class Neighbour(Struct, frozen=True):
    """A process that is not ours, and what it holds on the card."""

    pid: int
    name: str
    """Empty where it can't be seen, as from inside a container."""
    used_bytes: int | None
    user: str = ""
    """Whose it is: a name, or a number where the name is not known yet; empty where it can't be seen."""
    command: str = ""
    """How it was started; empty where that can't be seen."""
    started_s: int | None = None
    """When it was started, seconds since the epoch."""


class Reading(Struct, frozen=True, omit_defaults=True, gc=False):
    """What the device said of itself, and when. A missing figure is None, never 0."""

    health: Health
    reason: str = ""
    """Why the health is not ok, in words for the operator."""
    used_bytes: int | None = None
    """All memory in use, ours and others'."""
    external_bytes: int | None = None
    """Of that, what processes that are not ours use."""
    temperature_c: int | None = None
    utilization_percent: int | None = None
    neighbours: tuple[Neighbour, ...] = ()
    at_s: float = 0.0
    """Wall-clock time of the last good figures, seconds since the epoch."""
    power_w: float | None = None
    power_limit_w: float | None = None
    """What it may draw at most."""
    clocks_mhz: tuple[int, int] | None = None
    """Of the graphics engine and of the memory."""
    fan_percent: int | None = None
    performance_state: int | None = None
    """NVIDIA's P-state: 0 is the fastest, 15 the one that saves most."""
    driver: str = ""
    """The versions of the driver and of the newest CUDA that it serves, in words."""
    total_bytes: int | None = None
    """All memory that there is now, of which the rest are parts; None where that never changes, or could not be read."""
    mono_s: float | None = None
    """`at_s` on the steady clock, for the age of the figures; None when there were none in this engine's life."""
    cause: str = ""
    """What the trouble comes from, where that is more than this device: `DRIVER`. Troubles of one cause are told as one."""


STALE_S: Final = 3.0
"""Figures that are older carry their age wherever they are shown, and nobody takes them for what is so now."""
DRIVER: Final = "driver"
"""The cause of what all cards have because their driver does."""


def worker_of(device: DeviceId) -> str:
    """The cause of what a device has because its worker is in trouble."""
    return f"the worker of {device}"


def condition(health: Health, *, several: bool = False) -> str:
    """What a sentence says of a device, or of several: "gpu0 has failed", "gpu1 is lost", "gpu0, gpu1 are stale"."""
    if health == "failed":
        return "have failed" if several else "has failed"
    return f"{'are' if several else 'is'} {health}"


def past_condition(health: Health) -> str:
    """The same of what is over: "had failed", "was lost"."""
    return "had failed" if health == "failed" else f"was {health}"
