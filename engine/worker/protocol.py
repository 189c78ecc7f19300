"""What the engine says to its workers and to the fork server that makes them, and what they answer. Never imports torch.

With a worker it talks in frames on a stream (`worker.framing`), with the fork server in datagrams over a pair of
sequenced-packet sockets: one message each, descriptors passed beside it.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from engine.core.models import Dtype, Limits
from engine.core.names import DeviceId, ModelName
from engine.core.tasks import Task, TaskKind, TaskPart, TaskResult

BROKEN_CONTEXT_STATUS: Final = 70
"""With which a worker exits that an error of CUDA has made useless, once it has answered."""


class ArenaSize(Struct, frozen=True):
    """The shared RAM tier; its descriptor is passed beside this."""

    size_bytes: int


class WorkerConfig(Struct, frozen=True):
    """What a worker is told at birth."""

    device: DeviceId | None
    """None for the worker that only prepares checkpoints."""
    backing: str
    """`ram`, `host` (the CPU device: models are bound to the arena itself), `cuda:N` (the Nth visible card), or `none`."""
    limit_bytes: int | None
    """Memory that the device has; the worker refuses to go over it. None: a whole card, which has what it says it has."""
    arena: ArenaSize
    threads: int = 1
    """Torch's threads."""
    card: str | None = None
    """UUID of the NVIDIA card or MIG device that a `cuda:` backing lies on; the only one that the process will see. None:
    the one that the backing numbers."""
    page_locks: bool = False
    """The engine says Unlock before it gives up a region of the RAM tier: a card's worker may page-lock what it copies."""
    touched_bytes: int = 0
    """So much of a device in host RAM is touched before its first use."""
    keeps_pages: bool = True
    """Whether what a model of such a device has left stays touched for the next one; else the host has it back."""


# ── requests ─────────────────────────────────────────────────────────────────────────────────────


class Bind(Struct, frozen=True, tag="bind"):
    """Make the model ready from the slab at `offset` of the arena. Answer: Bound or Failure."""

    id: int
    model: ModelName
    folder: str
    """The prepared folder: slab layout, config and tokenizer."""
    layout_id: str
    """Of the layout that these bytes have: the folder may have been prepared anew since they were read."""
    offset: int
    length: int
    workspace_bytes: int
    """Charged to the device beside the weights."""
    task: TaskKind
    limits: Limits
    read_bytes: int | None = None
    """So many of its bytes are in the RAM tier; the rest comes in order, and SlabGrew tells of it. None: all of them are."""


class SlabGrew(Struct, frozen=True, tag="grew"):
    """More of the slab that a Bind copies is there. No answer."""

    bind: int
    """Number of the Bind."""
    read_bytes: int


class SlabStopped(Struct, frozen=True, tag="stopped"):
    """The rest of the slab that a Bind copies will not come: the Bind is to fail. No answer but the Bind's."""

    bind: int
    reason: str


class WriteBack(Struct, frozen=True, tag="write-back"):
    """Write the model's slab to a region of the RAM tier, every byte as its file has it; nothing of the model runs, and it
    stays. Answer: WrittenBack or Failure, after which the region may hold anything."""

    id: int
    model: ModelName
    offset: int
    length: int


class Release(Struct, frozen=True, tag="release"):
    """Unbind the model and free its region. Answer: Released or Failure."""

    id: int
    model: ModelName


class Run(Struct, frozen=True, tag="run"):
    """Have the model carry out a task. Answers: RunPart…, then RunEnded or Failure. A run that finds no memory may begin anew
    within the worker; its parts say so."""

    id: int
    model: ModelName
    task: Task


class Prepare(Struct, frozen=True, tag="prepare"):
    """Write the prepared folder of a checkpoint, making a synthetic one first if that is the source. Answers: Advanced…,
    then Converted or Failure."""

    id: int
    model: ModelName
    source: str
    """`path:/abs/folder` of a checkpoint, or `synthetic:KIND`."""
    checkpoint: str
    """Folder of the checkpoint; for a synthetic source it is made there when missing."""
    folder: str
    """Where the prepared folder is to be."""
    task: TaskKind
    dtype: Dtype
    sha256: str | None


class Unlock(Struct, frozen=True, tag="unlock"):
    """The region of the arena is about to be given up: end its page-lock, if it has one. Its pages may change hands once
    the answer has come, not before, since a card reads locked pages wherever they were. Answer: Unlocked or Failure."""

    id: int
    offset: int
    length: int


class LeaveRun(Struct, frozen=True, tag="leave"):
    """Nobody waits for a Run any more: give it up after the batch or the token under way. No answer but the Run's, a Failure of
    kind `left` unless it came too late."""

    run: int
    """Number of the Run."""


class Ping(Struct, frozen=True, tag="ping"):
    """A sign of life is wanted. Answer, at once: Pong."""

    id: int


Request: TypeAlias = Bind | WriteBack | Release | Run | Prepare | Unlock | Ping
WorkerNews: TypeAlias = SlabGrew | SlabStopped | LeaveRun
"""What a worker is told and does not answer."""
ToWorker: TypeAlias = Request | WorkerNews

# ── answers ──────────────────────────────────────────────────────────────────────────────────────


class Ready(Struct, frozen=True, tag="ready"):
    """The first thing a worker says, unasked."""

    pid: int
    torch: str
    """Its version."""


class CardMemory(Struct, frozen=True):
    """What a card said after a load or an eviction. There is one as soon as the process holds a CUDA context there, which
    it does until it ends."""

    total_bytes: int
    free_bytes: int
    """On the whole card, whoever uses the rest."""
    context_bytes: int | None
    """What the process's context took when it was made; None when nobody could tell. Part of `used_bytes` when known."""


class Bound(Struct, frozen=True, tag="bound"):
    id: int
    copy_s: float
    """Time in which bytes moved."""
    bind_s: float
    warm_s: float
    used_bytes: int
    """All that the device holds now."""
    card: CardMemory | None = None
    tail_s: float | None = None
    """What was left to copy once the whole slab had been read; None: all of `copy_s`."""


class WrittenBack(Struct, frozen=True, tag="written-back"):
    id: int
    copy_s: float
    """All that it took."""


class Released(Struct, frozen=True, tag="released"):
    id: int
    evict_s: float
    used_bytes: int
    leaked_bytes: int
    """Bytes of the region that a caller still holds a view of, or that the device keeps; quarantined, not freed."""
    card: CardMemory | None = None


class RunPart(Struct, frozen=True, tag="run-part"):
    """Some of what a Run gives, as soon as it is there; not an answer."""

    id: int
    part: TaskPart


class RunEnded(Struct, frozen=True, tag="run-ended"):
    id: int
    result: TaskResult
    workspace_bytes: int | None = None
    """What the run took beside the weights at its peak; None where the device can't tell, or others used it meanwhile."""
    filled: float = 0.0
    """Tokens that ran at once, padding included, as a share of the most that the model's limits allow; 0 to 1."""
    used_bytes: int | None = None
    """All that the device holds now: a run leaves memory with torch's allocator. None where a run changes nothing of it."""
    device_s: float = 0.0
    """Seconds of the device that it took: of a batch that it shared, by its share of the tokens."""


class Advanced(Struct, frozen=True, tag="advanced"):
    """Progress of a Prepare; not an answer."""

    id: int
    done: float
    """Share, 0 to 1."""


class Converted(Struct, frozen=True, tag="converted"):
    id: int
    weights_bytes: int


class Unlocked(Struct, frozen=True, tag="unlocked"):
    id: int


class Pong(Struct, frozen=True, tag="pong"):
    id: int
    steps: dict[ModelName, float] = {}
    """For how many seconds the batch or the token under way of each model that runs has been running."""


class Failure(Struct, frozen=True, tag="failure"):
    """The request came to nothing; what the worker held before is as it was."""

    id: int
    kind: Literal[
        "out of memory",
        "device unusable",
        "device unsupported",
        "bad checkpoint",
        "bad request",
        "left",
        "not resident",
        "not read",
        "replaced",
        "internal",
    ]
    message: str


Reply: TypeAlias = Bound | WrittenBack | Released | RunEnded | Converted | Unlocked | Pong | Failure
FromWorker: TypeAlias = Ready | Advanced | RunPart | Reply

# ── the fork server ──────────────────────────────────────────────────────────────────────────────

MAX_MESSAGE_BYTES: Final = 1 << 16


class Fork(Struct, frozen=True, tag="fork"):
    """Make a worker. Two descriptors come along: its end of the stream, and the RAM tier's memory file."""

    ticket: int
    config: WorkerConfig


class Call(Struct, frozen=True, tag="call"):
    """A sign of life is wanted. Answer: Here, at once, but for the time of the imports."""


ToServer: TypeAlias = Fork | Call


class Here(Struct, frozen=True, tag="here"):
    pass


class Forked(Struct, frozen=True, tag="forked"):
    ticket: int
    pid: int


class Exited(Struct, frozen=True, tag="exited"):
    pid: int
    status: int
    """As `os.waitstatus_to_exitcode` has it: negative for a signal."""


FromServer: TypeAlias = Forked | Exited | Here
