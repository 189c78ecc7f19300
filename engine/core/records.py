"""What is written down: switches, decisions that came to nothing, and notices. One definition for journal and wire."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import astuple

from engine.core.commands import Origin
from engine.core.names import DeviceId, ModelName
from engine.core.plans import Plan, Refusal, Tier
from engine.core.prediction import Prediction

PhaseName: TypeAlias = Literal["queue", "drain", "evict", "settle", "prepare", "read", "copy", "bind", "warm"]
SwitchOutcome: TypeAlias = Literal["done", "failed", "cancelled"]
"""How an accepted command ended."""


SWITCH_TARGET_S: Final = 2.0
"""A switch is to take less."""


class Phases(Struct, frozen=True):
    """Seconds of each part of a switch."""

    queue: float = 0.0
    """From the command's arrival until its plan began, including the wait for room."""
    drain: float = 0.0
    """Waiting for the victims' leases to end."""
    evict: float = 0.0
    """Unbinding the victims and freeing their regions."""
    settle: float = 0.0
    """Until the device showed the bytes free and the load's reservation stood."""
    prepare: float = 0.0
    """Writing the model's slab from its source, once."""
    read: float = 0.0
    """Disk to the RAM tier."""
    copy: float = 0.0
    """RAM tier to device."""
    bind: float = 0.0
    """Pointing the model's parameters at the copied bytes, and the messages to and from the worker."""
    warm: float = 0.0
    """A first run of the model, so that the first request does not pay for it."""

    @property
    def total_s(self) -> float:
        return float(sum(astuple(self)))


class Switch(Struct, frozen=True, tag="switch"):
    """One executed plan that changed who is resident."""

    id: str
    plan: Plan
    origin: Origin
    at_s: float
    """When the command came, seconds since the epoch."""
    total_s: float
    phases: Phases
    outcome: SwitchOutcome = "done"
    reason: str = ""
    """Why it failed or was cancelled; of one that was done, what went wrong on the way."""
    tier: Tier | None = None
    """Where its load really started from."""
    reading_s: float | None = None
    """Seconds in which slabs of its loads were read from disk, also before the `read` phase; None when none was."""
    from_page_cache: bool = False
    """Whether what was read from disk lay in the host's page cache."""
    floor_s: float | None = None
    """The least time that the bytes of its loads need, from the tier where they started (`calibration.floor_s`); None before
    there is a measurement."""

    @property
    def predicted(self) -> Prediction:
        return self.plan.predicted

    @property
    def moving_s(self) -> float:
        """Seconds without the waits for room and for running uses to end: what `predicted` predicts."""
        return self.total_s - self.phases.queue - self.phases.drain

    @property
    def efficiency(self) -> float | None:
        """Floor ÷ measured prepare, read, copy, bind and warm time; None without a floor."""
        measured = self.phases.prepare + self.phases.read + self.phases.copy + self.phases.bind + self.phases.warm
        return self.floor_s / measured if self.floor_s and measured else None


class Refused(Struct, frozen=True, tag="refused"):
    """A command that the engine did not carry out."""

    id: str
    refusal: Refusal
    origin: Origin
    at_s: float


class Pinned(Struct, frozen=True, tag="pinned"):
    """A plan that only changed pins."""

    id: str
    plan: Plan
    origin: Origin
    at_s: float


class Notice(Struct, frozen=True, tag="notice"):
    """Something that happened without a command: a worker died, a device was lost, the journal can't be written."""

    at_s: float
    level: Literal["info", "warning", "error"]
    text: str
    device: DeviceId | None = None
    model: ModelName | None = None
    condition: str = ""
    """What lasts from here on, until a notice of the same condition says that it is over; empty for what only happened. What
    comes of one cause has one condition."""
    over: bool = False
    """Whether that condition has ended; the text tells of it in the past tense."""


class Residency(Struct, frozen=True, tag="residency"):
    """Who was resident and who was pinned, for a restart to restore: kept by itself (`recording.residency`). Journals of earlier
    versions have it among their lines."""

    at_s: float
    residents: tuple[tuple[ModelName, DeviceId], ...]
    pins: dict[ModelName, DeviceId | None]


CommandEnd: TypeAlias = Switch | Refused | Pinned
"""How a command ended."""
Entry: TypeAlias = Switch | Refused | Pinned | Notice | Residency


class Record(Struct, frozen=True):
    """A journal line: an entry and its place in the sequence."""

    seq: int
    entry: Entry
