"""What the scheduler wants done. The executor does it and reports back; nothing here decides."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from engine.api import Answer
from engine.core.names import DeviceId, ModelName
from engine.core.records import Entry


class ReadSlab(Struct, frozen=True):
    """Bring the model's slab into the RAM tier, preparing it first when needed. Report: SlabRead or SlabFailed."""

    model: ModelName


class StopReading(Struct, frozen=True):
    """Give up a ReadSlab. Report: SlabFailed, or SlabRead when it was too late."""

    model: ModelName


class DropSlab(Struct, frozen=True):
    """Free the slab's region of the RAM tier."""

    model: ModelName


class BindModel(Struct, frozen=True):
    """Copy the slab to the device and make the model ready. Report: ModelBound or BindFailed."""

    model: ModelName
    device: DeviceId
    workspace_bytes: int


class ReleaseModel(Struct, frozen=True):
    """Take the model off the device. Report: ModelReleased."""

    model: ModelName
    device: DeviceId


class StartWorker(Struct, frozen=True):
    """Report: WorkerUp, or WorkerDown when it does not come up."""

    device: DeviceId
    after_s: float = 0.0


class KillWorker(Struct, frozen=True):
    """Report: WorkerDown."""

    device: DeviceId


class Reply(Struct, frozen=True):
    """The one answer to a submission."""

    submission_id: str
    answer: Answer


class Grant(Struct, frozen=True):
    """The lease begins: run on `device`."""

    lease: int
    device: DeviceId


class Deny(Struct, frozen=True):
    """There will be no lease, and why."""

    lease: int
    reason: str


class Write(Struct, frozen=True):
    """Write the entry to the journal."""

    entry: Entry


Effect: TypeAlias = (
    ReadSlab
    | StopReading
    | DropSlab
    | BindModel
    | ReleaseModel
    | StartWorker
    | KillWorker
    | Reply
    | Grant
    | Deny
    | Write
)
