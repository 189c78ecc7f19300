"""Models: what the catalog says of each, and what each needs on a device, in smaller dtypes too."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from engine.core.names import DeviceId, ModelName
from engine.core.sizes import format_size
from engine.core.tasks import TaskKind

Dtype: TypeAlias = Literal["float32", "float16", "bfloat16", "int8", "nf4", "nf4-double"]
"""`int8` and `nf4` are weight-only: the matrices of linear layers are of 8 or 4 bits, the rest and the computing are
float16. With `nf4-double` the scales of these matrices are of 8 bits, too."""

DTYPE_BYTES: Final[dict[Dtype, int]] = {
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int8": 2,
    "nf4": 2,
    "nf4-double": 2,
}
"""Of an activation, and of a weight, except in the matrices of weight-only dtypes."""
WEIGHT_ONLY: Final[tuple[Dtype, ...]] = ("int8", "nf4", "nf4-double")
"""Dtypes of matrices alone, each of which is turned into float16 to be multiplied with; the most exact first."""


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """The largest work that one request may bring; the footprint's workspace is sized for it."""

    max_batch: int = 16
    """Rows that run at once; larger requests are split."""
    max_sequence: int = 128
    """Tokens of a row, prompt and answer together; longer text is refused, or cut."""
    truncate: bool = False
    """Whether texts to embed or to judge that are longer are cut, also where a request doesn't ask for it."""


class ModelSpec(Struct, frozen=True):
    """One entry of the catalog, checked."""

    name: ModelName
    sources: tuple[str, ...]
    """Where the weights may come from, in order of preference: `package:`, `hub:`, `path:` or `synthetic:`."""
    task: TaskKind
    dtype: Dtype = "float32"
    limits: Limits = Limits()
    has_own_limit: bool = False
    """Whether the catalog leaves `max_sequence` to the model, whose files say it."""
    aliases: tuple[str, ...] = ()
    """Other names that requests may call it by, such as the one that an application has built in."""
    idle_s: float | None = None
    """Its own word on `Policy.idle_s`; 0: it never leaves for being idle."""
    preferred_device: DeviceId | None = None
    pin: Pin | None = None
    """The pin that the model starts with."""
    preload: bool = False
    revision: str | None = None
    sha256: str | None = None
    """Of the source's model.safetensors; a file that differs is refused."""


class Pin(Struct, frozen=True):
    """The operator's word that a model is never a victim."""

    device: DeviceId | None = None
    """Where it must stay, or None for wherever it is."""


class RunRange(Struct, frozen=True):
    """What measured runs of a model took beside its weights."""

    count: int
    near_limits: int
    """Of the newest, those that filled at least three quarters of what the model's limits allow."""
    least_bytes: int
    most_bytes: int


class Footprint(Struct, frozen=True, omit_defaults=True, gc=False):
    """Bytes that a model needs on a device."""

    weights_bytes: int
    workspace_bytes: int
    """Activations and KV cache at the model's limits."""
    label: Literal["estimated", "measured", "learned"] = "estimated"
    """`measured`: the weights, when they were read. `learned`: the workspace too, from runs (`forecast.footprints`)."""
    runs: RunRange | None = None
    """None where no run was measured yet: only cards can tell what one takes."""

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.workspace_bytes

    @property
    def run_bytes(self) -> tuple[int, int] | None:
        """What the smallest and the largest measured run needed, weights included."""
        if self.runs is None:
            return None
        return self.weights_bytes + self.runs.least_bytes, self.weights_bytes + self.runs.most_bytes


_PAGE_BYTES: Final = 4096


def whole_pages(footprint: Footprint) -> Footprint:
    """`footprint` with its workspace rounded up to whole pages in all: devices give out nothing less."""
    hole_bytes = -footprint.total_bytes % _PAGE_BYTES
    return replace(footprint, workspace_bytes=footprint.workspace_bytes + hole_bytes)


SCALE_BYTES: Final = 2
"""Of a row of an int8 matrix: one float16."""
NF4_BLOCK: Final = 64
"""Weights that share a scale of 4 bytes."""
NF4_SCALE_BLOCK: Final = 256
"""Scales of a byte that share one of 4."""
NF4_AT_ONCE: Final = 1 << 20
"""Weights that are unpacked at once, whole blocks of both kinds."""
NF4_UNPACKING_BYTES: Final = 7
"""That each of these takes on the way: 4 as a float32, 2 as its half of an index, and its share of scales."""


def matrix_bytes(rows: int, columns: int, dtype: Dtype) -> int:
    """A matrix in a weight-only dtype. int8: a byte a weight and a scale a row, a row being what makes one output."""
    if dtype == "int8":
        return rows * (columns + SCALE_BYTES)
    weights = rows * columns
    scales = ceil(weights / NF4_BLOCK)
    scale_bytes = scales + 4 * ceil(scales / NF4_SCALE_BLOCK) + 4 if dtype == "nf4-double" else 4 * scales
    return ceil(weights / 2) + scale_bytes


def smaller_dtypes(dtype: Dtype) -> tuple[Dtype, ...]:
    """The weight-only ones that make a model of `dtype` smaller, the most exact first."""
    return WEIGHT_ONLY[WEIGHT_ONLY.index(dtype) + 1 :] if dtype in WEIGHT_ONLY else WEIGHT_ONLY


def smaller_would_fit(smaller: Mapping[Dtype, Footprint], budget_bytes: int) -> str:
    """The most exact dtype in which a model that is larger than the budget would fit it, in words; empty where none is."""
    for dtype in WEIGHT_ONLY:
        if dtype in smaller and smaller[dtype].total_bytes <= budget_bytes:
            return f'with "dtype": "{dtype}" it would need {format_size(smaller[dtype].total_bytes)} and fit'
    return ""
