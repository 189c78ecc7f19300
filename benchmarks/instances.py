"""Seeded assignment problems: models of varied sizes and demands that compete for the room of some GPUs."""

from __future__ import annotations

from math import exp
from random import Random
from typing import Final, Literal, TypeAlias, get_args

from msgspec import Struct

from engine.core.names import DeviceId
from engine.core.proposing.multiple_knapsack import Item

Kind: TypeAlias = Literal["few sizes", "tight", "uniform", "lognormal", "uneven", "large"]
"""`few sizes`: eight sizes in turn. `tight`: those, and room for half of the models. `uneven`: devices of different sizes.
`large`: two to five models fill a device, so that much room stays empty."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_PAGE_BYTES: Final = 4096
_SIZES_GB: Final = (0.09, 0.13, 0.44, 0.7, 1.3, 2.2, 2.4, 4.0)
_REQUESTS: Final = 100
_COPY_BYTES_PER_S: Final = 3e9
_DISK_BYTES_PER_S: Final = 5e8


class Instance(Struct, frozen=True):
    """One problem."""

    kind: Kind
    seed: int
    items: tuple[Item, ...]
    rooms: dict[DeviceId, int]


def instance(kind: Kind, models: int, devices: int, seed: int) -> Instance:
    """The problem of that kind and seed: Zipf demand, half of the models in the RAM tier, values in seconds."""
    random = Random(f"{kind} {models} {devices} {seed}")
    sizes_gb = _sizes_gb(kind, models, random)
    rooms_gb = _rooms_gb(kind, sizes_gb, devices, random)
    skew = random.uniform(1.0, 2.1)
    demands = [1 / rank**skew for rank in range(1, models + 1)]
    random.shuffle(demands)
    items = []
    for number, (size_gb, demand) in enumerate(zip(sizes_gb, demands, strict=True)):
        size_bytes = int(size_gb * 1e9) // _PAGE_BYTES * _PAGE_BYTES
        reload_s = size_bytes / _COPY_BYTES_PER_S + random.choice((0.0, size_bytes / _DISK_BYTES_PER_S))
        items.append(Item(f"m{number:04}", size_bytes, _REQUESTS * demand / sum(demands) * reload_s))
    rooms = {f"gpu{number}": int(room_gb * 1e9) for number, room_gb in enumerate(rooms_gb)}
    return Instance(kind, seed, tuple(items), rooms)


def _sizes_gb(kind: Kind, models: int, random: Random) -> list[float]:
    match kind:
        case "few sizes" | "tight":
            sizes_gb = [_SIZES_GB[number % len(_SIZES_GB)] for number in range(models)]
            random.shuffle(sizes_gb)
            return sizes_gb
        case "uniform" | "uneven":
            return [random.uniform(0.05, 4.0) for _ in range(models)]
        case "lognormal":
            return [min(4.5, exp(random.gauss(-0.5, 1.0))) for _ in range(models)]
        case "large":
            return [random.uniform(1.0, 4.0) for _ in range(models)]


def _rooms_gb(kind: Kind, sizes_gb: list[float], devices: int, random: Random) -> list[float]:
    half_gb = sum(sizes_gb) / devices / 2
    match kind:
        case "few sizes":
            return [4.8] * devices
        case "lognormal":
            return [random.choice((4.8, 8.0)) for _ in range(devices)]
        case "large":
            return [6.0] * devices
        case "tight" | "uniform":
            return [max(half_gb, 4.0)] * devices
        case "uneven":
            return [random.uniform(0.4, 1.6) * half_gb for _ in range(devices)]
