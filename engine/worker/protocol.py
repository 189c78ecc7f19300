"""What the engine and a worker say to each other: msgspec structs, framed by `worker.framing`. Never imports torch."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from engine.core.models import Dtype, Limits, Task
from engine.core.names import DeviceId, ModelName


class Arena(Struct, frozen=True):
    """The shared RAM tier; its descriptor is passed beside this."""

    size_bytes: int


class WorkerConfig(Struct, frozen=True):
    """What a worker is told at birth."""

    device: DeviceId | None
    """None for the worker that only prepares checkpoints."""
    backing: str
    """`ram`, `host` (the CPU device: models are bound to the arena itself), or `none`."""
    limit_bytes: int
    """Memory that the device has; the worker refuses to go over it."""
    arena: Arena
    threads: int = 1
    """Torch's threads."""


# ── requests ─────────────────────────────────────────────────────────────────────────────────────


class Bind(Struct, frozen=True, tag="bind"):
    """Make the model ready from the slab at `offset` of the arena. Answer: Bound or Failure."""

    id: int
    model: ModelName
    folder: str
    """The prepared folder: slab layout, config and tokenizer."""
    offset: int
    length: int
    workspace_bytes: int
    """Charged to the device beside the weights."""
    task: Task
    limits: Limits


class Release(Struct, frozen=True, tag="release"):
    """Unbind the model and free its region. Answer: Released or Failure."""

    id: int
    model: ModelName


class Embed(Struct, frozen=True, tag="embed"):
    """Answer: Embedded or Failure."""

    id: int
    model: ModelName
    texts: list[str]


class Generate(Struct, frozen=True, tag="generate"):
    """Answer: Generated or Failure."""

    id: int
    model: ModelName
    prompt: str
    max_tokens: int


class Prepare(Struct, frozen=True, tag="prepare"):
    """Write the prepared folder of a checkpoint, making a synthetic one first if that is the source. Answers: Advanced…,
    then Prepared or Failure."""

    id: int
    model: ModelName
    source: str
    """`path:/abs/folder` of a checkpoint, or `synthetic:KIND`."""
    checkpoint: str
    """Folder of the checkpoint; for a synthetic source it is made there when missing."""
    folder: str
    """Where the prepared folder is to be."""
    task: Task
    dtype: Dtype
    sha256: str | None


Request: TypeAlias = Bind | Release | Embed | Generate | Prepare


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


class Ready(Struct, frozen=True, tag="ready"):
    """The first thing a worker says, unasked."""

    pid: int
    torch: str
    """Its version."""


class Bound(Struct, frozen=True, tag="bound"):
    id: int
    copy_s: float
    bind_s: float
    warm_s: float
    used_bytes: int
    """All that the device holds now."""


class Released(Struct, frozen=True, tag="released"):
    id: int
    evict_s: float
    used_bytes: int
    leaked_bytes: int
    """Bytes of the region that a caller still holds a view of; quarantined, not freed."""


class Embedded(Struct, frozen=True, tag="embedded"):
    id: int
    dimensions: int
    vectors: bytes
    """Row-major float32, little-endian; one row a text, unit length."""


class Generated(Struct, frozen=True, tag="generated"):
    id: int
    text: str
    tokens: int


class Advanced(Struct, frozen=True, tag="advanced"):
    """Progress of a Prepare or a Bind; not an answer."""

    id: int
    done: float
    """Share, 0 to 1."""


class Prepared(Struct, frozen=True, tag="prepared"):
    id: int
    weights_bytes: int


class Failure(Struct, frozen=True, tag="failure"):
    """The request came to nothing; what the worker held before is as it was."""

    id: int
    kind: Literal["out of memory", "bad checkpoint", "bad request", "not resident", "internal"]
    message: str


Reply: TypeAlias = Bound | Released | Embedded | Generated | Prepared | Failure
FromWorker: TypeAlias = Ready | Advanced | Reply
