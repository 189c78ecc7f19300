"""Preparing models without an engine: what is asked, and what is said of each model as it goes."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from engine.core.models import Dtype, ModelSpec
from engine.core.names import ModelName

Depth: TypeAlias = Literal["sizes", "checksum", "nothing"]
"""What is believed of a slab that is there: that it is whole when its sizes are right, only when its checksum and its source
are, or nothing, so that it is built again."""


class Order(Struct, frozen=True):
    """Models to be prepared, one after the other."""

    models: tuple[ModelSpec, ...]
    cache: str
    """Folder of the prepared models."""
    depth: Depth = "sizes"


class Checking(Struct, frozen=True, tag="checking"):
    """The model's slab is being read, or its source."""

    model: ModelName
    done: float
    """Share, 0 to 1."""


class Building(Struct, frozen=True, tag="building"):
    """The model's slab is being written; before its first byte the whole checkpoint is loaded."""

    model: ModelName
    done: float
    """Share, 0 to 1."""


class Kept(Struct, frozen=True, tag="kept"):
    """The model was prepared already."""

    model: ModelName
    size_bytes: int
    proof: Literal["sizes", "checksum", "source"]
    """What was found right: `checksum`, with nothing there to compare the source with; `source`, the checksum, and every file of
    the source is the one that it was made of."""


class Built(Struct, frozen=True, tag="built"):
    model: ModelName
    size_bytes: int
    seconds: float
    damage: str = ""
    """What was wrong with the slab that was there, or had changed since; empty when there was none, or it was not looked at."""
    dtype: Dtype = "float32"
    smaller_matrices: int = 0
    """How many matrices were converted to a weight-only dtype."""


class NotPrepared(Struct, frozen=True, tag="not prepared"):
    """The model could not be prepared; what was there before still is."""

    model: ModelName
    reason: str


PrepareOutcome: TypeAlias = Kept | Built | NotPrepared
PrepareNews: TypeAlias = Checking | Building | PrepareOutcome
