"""Prepared slabs between machines: what an engine offers of its own, and fetches from another, so that a model that is prepared
on one machine need not be prepared on the next.

Whoever speaks to both engines has the one offer a slab and the other fetch it; the bytes go between these two alone.
"""

from __future__ import annotations

import ipaddress
from typing import Protocol

from msgspec import Struct

from engine.core.models import Dtype
from engine.core.names import ModelName
from engine.core.texts import in_brief


class OfferedFile(Struct, frozen=True):
    """A file of a prepared folder."""

    name: str
    """Below the folder."""
    size_bytes: int


class SlabOffer(Struct, frozen=True):
    """A prepared folder that whoever has the ticket may read for a while, by HTTP at `/TICKET/NUMBER`, the number of a file."""

    host: str
    port: int
    ticket: str
    files: tuple[OfferedFile, ...]
    layout_id: str
    """SHA-256 of the layout as it is written: it names every byte of the slab."""
    dtype: Dtype
    recipe: str = ""
    """By which a synthetic model was made, its fingerprint with it; empty for a checkpoint that was given."""


class SlabFetched(Struct, frozen=True):
    """A prepared folder that has come, or was there."""

    came_bytes: int
    """Over the line: 0 when it was there, less than the folder has when a fetch before had begun it."""
    seconds: float


def fault_of_address(host: str) -> str:
    """Why machines of one owner should not reach each other there, in words; empty where they may."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return f"{in_brief(host, 60)} is no IP address; give the one by which the other boxes reach this one"
    if found.is_global or found.is_unspecified or found.is_multicast:
        return f"{host} can be reached from everywhere; give a private one, as of a home network or of WireGuard"
    return ""


class SlabPeer(Protocol):
    """An engine, as others fetch slabs from it and have it fetch them."""

    async def offer_slab(self, model: ModelName, host: str, ports: tuple[int, ...]) -> SlabOffer:
        """Have the model's prepared slab read at `host`, one of this machine's addresses, and the first of `ports` that is free;
        0 is any. Raises EngineError: it has none, or can't listen there."""
        ...

    async def fetch_slab(self, model: ModelName, offer: SlabOffer) -> SlabFetched:
        """Have the model's slab, which is another machine's, in its place here; returns once it can be loaded from. What has come
        of one that breaks off is kept for the next try. Raises EngineError; then the model is prepared here, as ever."""
        ...
