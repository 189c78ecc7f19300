"""Copy rates of a card, as measured once and kept: they hold for one card, one driver and one torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from msgspec import Struct

from engine.core.serialization import Undecodable, from_json, to_json
from engine.whole_file import read_whole, write_whole


class CopyRates(Struct, frozen=True):
    """Bytes a second between host memory and a card."""

    size_bytes: int
    """Of the copies that were timed."""
    to_card_pinned: float
    to_card_pageable: float
    from_card_pinned: float
    from_card_pageable: float


class Timed(Struct, frozen=True):
    """What came of timing one card."""

    rates: CopyRates | None = None
    trouble: str = ""


class Circumstances(Struct, frozen=True):
    """What the rates hold for."""

    uuid: str
    driver: str
    torch: str


class KeptRates(Struct, frozen=True):
    """A file of the cache."""

    version: int
    circumstances: Circumstances
    measured_at_s: float
    rates: CopyRates


_VERSION = 1
_MOST_BYTES = 1 << 16


def keep_rates(cache: Path, circumstances: Circumstances, rates: CopyRates, now_s: float) -> KeptRates:
    """Write the rates where `recall` finds them. Raises OSError."""
    kept = KeptRates(_VERSION, circumstances, now_s, rates)
    path = _path(cache, circumstances)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, to_json(kept))
    return kept


def recall(cache: Path, circumstances: Circumstances) -> KeptRates | None:
    """What was measured in just these circumstances, if anything was."""
    try:
        kept = from_json(read_whole(_path(cache, circumstances), _MOST_BYTES), KeptRates)
    except (OSError, Undecodable):
        return None
    return kept if (kept.version, kept.circumstances) == (_VERSION, circumstances) else None


def _path(cache: Path, circumstances: Circumstances) -> Path:
    # hashed: a card's uuid comes from the driver and is no name for a file
    digest = hashlib.sha256(to_json(circumstances)).hexdigest()[:16]
    return cache / "copy-rates" / f"{digest}.json"
