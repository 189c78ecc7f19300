"""A finding: what one check saw on the machine, what it means for Citadel, and what to do about it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

Status: TypeAlias = Literal["ok", "warning", "problem", "not applicable"]
"""`problem`: no model runs on a GPU, or not on this one, until it is mended. `warning`: it runs, but worse than it could."""


class Finding(Struct, frozen=True):
    """The outcome of one check."""

    id: str
    """`driver`, or `gpu0.memory` for what concerns one card."""
    status: Status
    found: str
    means: str = ""
    """Empty when there is nothing to explain."""
    fix: str = ""
    """What to do; commands stand between backquotes, ready to be copied."""
