"""What reaches the scheduler: commands and requests from outside, and reports of what was set in motion."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from engine.core.commands import Submission
from engine.core.devices import Reading
from engine.core.names import DeviceId, ModelName
from engine.core.plans import Tier
from engine.core.state import ModelState
from engine.worker.protocol import Bound, CardMemory

# ── from outside ─────────────────────────────────────────────────────────────────────────────────


class Submit(Struct, frozen=True):
    """Somebody hands a command in, perhaps once more."""

    submission: Submission


class Withdraw(Struct, frozen=True):
    """Somebody takes a command back."""

    submission_id: str


class LeaseAsked(Struct, frozen=True):
    """A request wants to run a model: it asks for a lease."""

    lease: int
    model: ModelName
    work: int = 1
    """What it asks for, as its task counts it."""
    again: bool = False
    """Its run came to nothing for no fault of its own: it keeps its place."""


class LeaseEnded(Struct, frozen=True):
    """A lease has ended, or nobody waits for it any more."""

    lease: int
    device_s: float = 0.0
    """Seconds of the device that its run took; 0 where it came to nothing."""


class RunMeasured(Struct, frozen=True):
    """A run of the model has ended well, and its device could tell what it took."""

    model: ModelName
    device: DeviceId
    workspace_bytes: int
    """At its peak, beside the weights."""
    filled: float
    """Share of what the model's limits allow, 0 to 1."""


class RunOutOfMemory(Struct, frozen=True):
    """A run of the model found no room on the device, even for one row with nothing else cached: its workspace was
    underestimated."""

    model: ModelName
    device: DeviceId


class RestartWorker(Struct, frozen=True):
    """The operator wants another worker for the device."""

    device: DeviceId


class KeepAlive(Struct, frozen=True):
    """Somebody says how long a model may be idle on a device from now on; None for as long as it likes."""

    model: ModelName
    seconds: float | None


class KeepQuiet(Struct, frozen=True):
    """Somebody measures: rest for so long, or no longer when that is 0."""

    for_s: float


class Tick(Struct, frozen=True):
    """A deadline may have passed."""


# ── of slabs ─────────────────────────────────────────────────────────────────────────────────────


class ModelMended(Struct, frozen=True):
    """A model that could not be loaded was looked at again, and can be."""

    known: ModelState
    """What its sources say of it now."""


class SlabCame(Struct, frozen=True):
    """The model's prepared slab is in its place: it came from another machine."""

    model: ModelName


class CatalogRead(Struct, frozen=True):
    """The catalog was read again: which models it has, in its order, and what the sources say of those that are new in it, that
    it says something else of, or that were in trouble."""

    names: tuple[ModelName, ...]
    looked: dict[ModelName, ModelState]
    remarks: tuple[str, ...] = ()
    """What the operator should know, in words."""


class PageCacheSeen(Struct, frozen=True):
    """The models whose prepared slabs lie in the host's page cache now."""

    models: frozenset[ModelName]


class SlabAdvanced(Struct, frozen=True):
    """A slab is being prepared or read: so much of that is done."""

    model: ModelName
    done: float
    """0 to 1."""


class SlabOpened(Struct, frozen=True):
    """The model's slab has its place in the RAM tier; from now on its bytes come in order."""

    model: ModelName
    tier: Tier
    """As in SlabRead."""
    size_bytes: int


class SlabRead(Struct, frozen=True):
    """The model's slab is in the RAM tier."""

    model: ModelName
    tier: Tier
    """Where it came from: `disk`, or `source` when it was prepared first."""
    size_bytes: int
    from_page_cache: bool = False
    """Whether the host's page cache held it before it was read."""


class SlabFailed(Struct, frozen=True):
    """The model's slab does not come; its region is free again, or will be once nobody copies from it."""

    model: ModelName
    kind: Literal["stopped", "broken", "passing", "damaged"]
    """`stopped`: as it was asked to. `broken`: trying again can't help. `passing`: it may. `damaged`: its file is given up, so
    that trying again prepares it anew."""
    reason: str

    @property
    def may_pass(self) -> bool:
        return self.kind in ("passing", "damaged")


class SlabWrittenBack(Struct, frozen=True):
    """The model's slab has been written back to the RAM tier."""

    model: ModelName
    device: DeviceId
    size_bytes: int
    copy_s: float


class SlabNotWrittenBack(Struct, frozen=True):
    """It could not be; the disk has it."""

    model: ModelName


class SlabVerified(Struct, frozen=True):
    """A check of the model's slab has ended."""

    model: ModelName
    finding: Literal["whole", "altered", "damaged", "replaced", "stopped"]
    """`altered`: the bytes in the RAM tier are not those that were prepared, but the file's are. `damaged`: neither are.
    `replaced`: the file was prepared anew since it was read."""
    path: str
    """Of the file."""


# ── of devices and their workers ─────────────────────────────────────────────────────────────────


class ModelBound(Struct, frozen=True):
    """The model is ready on the device."""

    model: ModelName
    device: DeviceId
    bound: Bound


class BindFailed(Struct, frozen=True):
    """The model is not, and the device holds nothing of it."""

    model: ModelName
    device: DeviceId
    kind: Literal["broken", "passing", "no room", "unusable", "unsupported", "not read", "replaced"]
    """`not read`: the slab did not come. `replaced`: its file was prepared anew since it was read. `unusable`: the worker
    can't use the device, another one may. `unsupported`: none can, as with a torch that was not built for its card."""
    reason: str


class ModelReleased(Struct, frozen=True):
    """The model has left the device."""

    model: ModelName
    device: DeviceId
    leaked_bytes: int
    """Of what it took, so much did not come free."""
    used_bytes: int
    """What the device holds now, by its own figure."""
    context_bytes: int = 0


class WorkerUp(Struct, frozen=True):
    """A new worker holds nothing yet, and can be asked."""

    device: DeviceId
    pid: int


class WorkerDown(Struct, frozen=True):
    """A worker has ended or did not start, and what it held is gone. What it was doing is not reported any more, but that a
    write-back or a reading came to nothing."""

    device: DeviceId
    reason: str


class SignOfLife(Struct, frozen=True):
    """A look at a device's worker, one each second."""

    device: DeviceId
    silent_s: float
    """For how long it has not answered; 0 when it has."""
    steps: dict[ModelName, float] = {}
    """For how many seconds the batch or the token under way of each model that runs has been running."""


class DeviceRead(Struct, frozen=True):
    """A sample of a device, by who can tell: the driver for a card, else our own worker and the host."""

    device: DeviceId
    reading: Reading


class HostRead(Struct, frozen=True):
    """A sample of the host's memory, within the limits that hold now."""

    left_bytes: int
    """What more the RAM tier may take; less than nothing where it has to give something up."""


def context_of(card: CardMemory | None) -> int:
    """Bytes of the CUDA context that a worker holds, as far as it could tell."""
    return (card.context_bytes or 0) if card is not None else 0


# ── together ─────────────────────────────────────────────────────────────────────────────────────

SlabReport: TypeAlias = (
    SlabOpened | SlabAdvanced | SlabRead | SlabFailed | SlabWrittenBack | SlabNotWrittenBack | SlabVerified
)
"""Of a slab that comes into the RAM tier or lies there."""

DeviceReport: TypeAlias = ModelBound | BindFailed | ModelReleased | WorkerUp | WorkerDown | SignOfLife | DeviceRead
"""Of a device, its worker or what the worker did."""

LoadReport: TypeAlias = ModelBound | BindFailed | SlabFailed
"""How the load of a model went: it goes into the flow that carries the load out."""

Message: TypeAlias = (
    Submit
    | Withdraw
    | LeaseAsked
    | LeaseEnded
    | RunMeasured
    | RunOutOfMemory
    | HostRead
    | RestartWorker
    | KeepAlive
    | KeepQuiet
    | PageCacheSeen
    | ModelMended
    | SlabCame
    | CatalogRead
    | SlabReport
    | DeviceReport
    | Tick
)
