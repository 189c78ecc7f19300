"""What the scheduler wants done: orders for the executor, which does them and reports back, and words for whoever waits. Nothing
here decides."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from engine.api import Answer
from engine.core.catalog import CatalogChange
from engine.core.forecast.footprints import RunPeaks
from engine.core.names import DeviceId, ModelName
from engine.core.records import Entry, Residency
from engine.core.state import ModelState

# ── slabs ────────────────────────────────────────────────────────────────────────────────────────


class ReadSlab(Struct, frozen=True):
    """Bring the model's slab into the RAM tier, preparing it first when needed. Reports: SlabOpened, SlabAdvanced now and then,
    and SlabRead or SlabFailed at the end."""

    model: ModelName
    ahead: bool = False
    """Whether nobody waits for it yet."""


class StopReading(Struct, frozen=True):
    """Give up a ReadSlab. Report: SlabFailed, or SlabRead when it was too late."""

    model: ModelName


class WriteBackSlab(Struct, frozen=True):
    """Copy the slab of a model that leaves the device, on which nothing of it runs any more, back to the RAM tier. Report:
    SlabWrittenBack or SlabNotWrittenBack."""

    model: ModelName
    device: DeviceId
    size_bytes: int


class DropSlab(Struct, frozen=True):
    """Free the slab's region of the RAM tier, once no card reads from it any more. No report."""

    model: ModelName


class VerifySlab(Struct, frozen=True):
    """Compare the slab's bytes in the RAM tier with its checksum. Report: SlabVerified."""

    model: ModelName


class StopVerifying(Struct, frozen=True):
    """Give up a VerifySlab, as a DropSlab does too. Report: SlabVerified all the same."""

    model: ModelName


class InvalidateSlab(Struct, frozen=True):
    """Have the model's slab on disk, which is damaged, never read again. No report."""

    model: ModelName


# ── devices and their workers ────────────────────────────────────────────────────────────────────


class BindModel(Struct, frozen=True):
    """Copy the slab to the device, as far as it has been read and the rest as it comes, and make the model ready. Report:
    ModelBound, which comes after SlabRead, or BindFailed; neither when the worker dies."""

    model: ModelName
    device: DeviceId
    workspace_bytes: int


class ReleaseModel(Struct, frozen=True):
    """Take the model off the device. Report: ModelReleased, or WorkerDown where the worker had to be replaced for it."""

    model: ModelName
    device: DeviceId


class StartWorker(Struct, frozen=True):
    """Start the device's worker, so long from now. Report: WorkerUp, or WorkerDown when it does not come up."""

    device: DeviceId
    after_s: float = 0.0


class KillWorker(Struct, frozen=True):
    """End the device's worker at once. Report: WorkerDown, unless there is none."""

    device: DeviceId


class KeepPeaks(Struct, frozen=True):
    """Keep what runs of the model took on this kind of device over restarts. No report."""

    model: ModelName
    kind: str
    """The device's title."""
    peaks: RunPeaks


class KnowModel(Struct, frozen=True):
    """From now on the model is loaded as this says: it is new, or another one. No report."""

    known: ModelState


class ForgetModel(Struct, frozen=True):
    """The catalog has the model no more, and nothing of it is left. No report."""

    model: ModelName


# ── to whoever waits ─────────────────────────────────────────────────────────────────────────────


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
    retry_after_s: float | None = None
    """Where the model's queue is full: when it is predicted to have room."""


class StopRun(Struct, frozen=True):
    """Give up the run under this lease, which ends as soon as its worker has; whoever waits for it is told why."""

    lease: int
    reason: str


class CatalogTaken(Struct, frozen=True):
    """The answer to a CatalogRead."""

    change: CatalogChange


class Write(Struct, frozen=True):
    """Write the entry to the journal."""

    entry: Entry


class KeepResidency(Struct, frozen=True):
    """Keep who is resident and pinned over restarts, in place of what was kept before."""

    residency: Residency


Work: TypeAlias = (
    ReadSlab
    | StopReading
    | WriteBackSlab
    | DropSlab
    | VerifySlab
    | StopVerifying
    | InvalidateSlab
    | BindModel
    | ReleaseModel
    | StartWorker
    | KillWorker
    | KeepPeaks
    | KnowModel
    | ForgetModel
)
"""What the executor does."""

Effect: TypeAlias = Work | AnswerCommand | Grant | Deny | StopRun | CatalogTaken | Write | KeepResidency
