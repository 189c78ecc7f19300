"""How fast models come to a card and leave it, beside the floor: a bare copy of the same bytes from locked memory.

`python -m tests.hardware.switching FOLDER` makes its models in FOLDER and prints one JSON object.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import torch
from msgspec import Struct
from transformers.utils import logging

from engine.core.models import Dtype, Limits
from engine.core.sizes import GIB, MIB
from engine.weights.recipes import RECIPES, Recipe
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared
from engine.worker.convert import prepare
from engine.worker.cuda import CudaBacking
from engine.worker.cuda_device import PagesNotLocked, TorchCuda
from engine.worker.protocol import Bind, Prepare, Release
from engine.worker.residents import Residents
from engine.worker.synthetic import make
from tests.worker.models import Tier

COPY_SIZES: Final = (64 * MIB, 256 * MIB, GIB)
TRIES: Final = 5
WORKSPACE_BYTES: Final = 256 * MIB


class Copy(Struct, frozen=True):
    """One size, copied from pageable and from page-locked memory; medians."""

    size_bytes: int
    pageable_ms: float
    lock_ms: float | None
    """None, as the next, where the driver would not lock the pages."""
    locked_ms: float | None
    unlock_ms: float | None
    reason: str = ""


class Switch(Struct, frozen=True):
    """One model, loaded and evicted over and over; medians, the first load apart."""

    model: str
    size_bytes: int
    first_ms: float
    """With the making of its modules, page-locking and the first run."""
    load_ms: float
    copy_ms: float
    floor_ms: float
    evict_ms: float
    leaked_bytes: int


class Results(Struct, frozen=True):
    context_bytes: int | None
    copies: tuple[Copy, ...]
    switches: tuple[Switch, ...]


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tier = Tier(2 * GIB)
    card = TorchCuda(0)
    context_bytes = card.open()
    limit_bytes = int(0.8 * card.figures().total_bytes)
    copies = tuple(_copies(card, tier, size_bytes) for size_bytes in COPY_SIZES)
    residents = Residents(CudaBacking(card, tier.mapping, limit_bytes, page_locks=True))
    switches = tuple(_switches(residents, card, tier, recipe, folder) for recipe in RECIPES.values())
    sys.stdout.write(msgspec.json.encode(Results(context_bytes, copies, switches)).decode() + "\n")
    return 0


def _copies(card: TorchCuda, tier: Tier, size_bytes: int) -> Copy:
    source = torch.frombuffer(tier.mapping, dtype=torch.uint8, count=size_bytes)
    source.fill_(1)
    target = card.allocate(size_bytes)
    pageable_ms = _copy_ms(card, target, source)
    begun_s = time.perf_counter()
    try:
        card.lock_pages(source.data_ptr(), size_bytes)
    except PagesNotLocked as refused:
        return Copy(size_bytes, pageable_ms, None, None, None, str(refused))
    locked_s = time.perf_counter()
    locked_ms = _copy_ms(card, target, source)
    ended_s = time.perf_counter()
    card.unlock_pages(source.data_ptr())
    unlock_ms = 1e3 * (time.perf_counter() - ended_s)
    return Copy(size_bytes, pageable_ms, 1e3 * (locked_s - begun_s), locked_ms, unlock_ms)


def _copy_ms(card: TorchCuda, target: torch.Tensor, source: torch.Tensor) -> float:
    return 1e3 * median(card.copy(target, source) for _ in range(TRIES))


def _switches(residents: Residents, card: TorchCuda, tier: Tier, recipe: Recipe, folder: Path) -> Switch:
    prepared = _prepared(recipe, folder)
    region = tier.read(prepared)
    request = Bind(
        1,
        recipe.kind,
        str(prepared.folder),
        prepared.layout_id,
        region.offset,
        region.length,
        WORKSPACE_BYTES,
        recipe.task,
        Limits(max_batch=8, max_sequence=128),
    )
    loads, copies, evictions, leaked_bytes = [], [], [], 0
    for _ in range(TRIES + 1):
        begun_s = time.perf_counter()
        bound = residents.bind(request)
        loads.append(1e3 * (time.perf_counter() - begun_s))
        copies.append(1e3 * bound.copy_s)
        released = residents.release(Release(2, recipe.kind))
        evictions.append(1e3 * released.evict_s)
        leaked_bytes += released.leaked_bytes
    return Switch(
        model=recipe.kind,
        size_bytes=prepared.length,
        first_ms=loads[0],
        load_ms=median(loads[1:]),
        copy_ms=median(copies[1:]),
        floor_ms=_floor_ms(card, tier, region),
        evict_ms=median(evictions),
        leaked_bytes=leaked_bytes,
    )


def _floor_ms(card: TorchCuda, tier: Tier, region: Region) -> float:
    """The best bare copy of the slab, which is page-locked by now, into memory that is there."""
    source = torch.frombuffer(tier.mapping, dtype=torch.uint8)[region.offset : region.offset + region.length]
    target = card.allocate(region.length)
    return 1e3 * min(card.copy(target, source) for _ in range(TRIES))


def _prepared(recipe: Recipe, folder: Path) -> Prepared:
    checkpoint = folder / f"{recipe.kind}-checkpoint"
    make(recipe, checkpoint)
    into = str(folder / recipe.kind)
    dtype: Dtype = "float16" if recipe.stored_dtype == "float16" else "float32"
    request = Prepare(1, recipe.kind, "benchmark", str(checkpoint), into, recipe.task, dtype, None)
    return prepare(request, lambda _: None)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
