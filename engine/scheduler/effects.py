"""What the scheduler wants done. The executor does it and reports back; nothing here decides."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from engine.api import Answer
from engine.core.forecast.footprints import RunPeaks
from engine.core.names import DeviceId, ModelName
from engine.core.records import Entry


class ReadSlab(Struct, frozen=True):
    """Bring the model's slab into the RAM tier, preparing it first when needed. Reports: SlabOpened, SlabAdvanced…, then
    SlabRead or SlabFailed."""

    model: ModelName


class StopReading(Struct, frozen=True):
    """Give up a ReadSlab. Report: SlabFailed, or SlabRead when it was too late."""

    model: ModelName


class WriteBackSlab(Struct, frozen=True):
    """Copy the slab of a model that leaves the device, on which nothing of it runs any more, back to the RAM tier. Report:
    SlabReturned or SlabNotReturned."""

    model: ModelName
    device: DeviceId
    size_bytes: int


class DropSlab(Struct, frozen=True):
    """Free the slab's region of the RAM tier."""

    model: ModelName


class VerifySlab(Struct, frozen=True):
    """Compare the slab's bytes in the RAM tier with its checksum. Report: SlabVerified."""

    model: ModelName


class StopVerifying(Struct, frozen=True):
    """Give up a VerifySlab; a DropSlab does so too."""

    model: ModelName


class DisownSlab(Struct, frozen=True):
    """Have the model's slab on disk, which is damaged, never read again."""

    model: ModelName


class BindModel(Struct, frozen=True):
    """Copy the slab to the device, as far as it has been read and the rest as it comes, and make the model ready. Report:
    ModelBound, which comes after SlabRead, or BindFailed."""

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


class AnswerCommand(Struct, frozen=True):
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


class KeepPeaks(Struct, frozen=True):
    """Keep what runs of the model took on this kind of device over restarts."""

    model: ModelName
    kind: str
    """The device's title."""
    peaks: RunPeaks


class Write(Struct, frozen=True):
    """Write the entry to the journal."""

    entry: Entry


Work: TypeAlias = (
    ReadSlab
    | StopReading
    | WriteBackSlab
    | DropSlab
    | VerifySlab
    | StopVerifying
    | DisownSlab
    | BindModel
    | ReleaseModel
    | StartWorker
    | KillWorker
    | KeepPeaks
)
"""What the executor does."""

Effect: TypeAlias = Work | AnswerCommand | Grant | Deny | Write
