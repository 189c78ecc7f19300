"""The reference box by calculation: how long its four models take from its RAM and from its disk, dtype by dtype, and what
its cards can hold; and what to tell the operator of a catalog that fits its devices but can't be switched in time. Nothing here
is measured; a machine's own figures come from its own switches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from engine.core.forecast.costs import load_time
from engine.core.ledger import budget
from engine.core.models import NF4_BLOCK, NF4_SCALE_BLOCK, SCALE_BYTES, WEIGHT_ONLY, Dtype
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import Tier
from engine.core.records import SWITCH_TARGET_S
from engine.core.sizes import format_room, format_size
from engine.core.state import ModelState, State

BUS_BYTES_PER_S: Final = 3.2e9
"""PCIe 3.0 with 4 lanes, from page-locked memory: 3.94 GB/s of line rate, less the headers of its packets."""
DISK_BYTES_PER_S: Final = 0.5e9
"""A SATA SSD, read in order."""
BUDGET_BYTES: Final = 4_800_000_000
"""0.8 of a card of 6 GB."""

REFERENCE_DTYPES: Final[tuple[Dtype, ...]] = ("float32", "float16", "bfloat16", *WEIGHT_ONLY)
NF4_BYTES: Final = 0.5 + 4 / NF4_BLOCK
"""Of a weight: 4 bits, and a 32-bit scale for 64 weights (QLoRA, Dettmers et al. 2023)."""
NF4_DOUBLE_BYTES: Final = 0.5 + 1 / NF4_BLOCK + 4 / (NF4_BLOCK * NF4_SCALE_BLOCK)
"""The same with double quantisation: an 8-bit scale, and a 32-bit one for 256 of these scales."""


class ReferenceModel(Struct, frozen=True):
    """A model of the reference box, by its published configuration."""

    name: str
    linear_weights: int
    """Of the matrices that int8 and nf4 quantise: attention, feed-forward and pooler."""
    linear_rows: int
    """Of these matrices together."""
    other_parameters: int
    """Embeddings, output head, norms and biases, which both keep in 16 bits."""

    def weights_bytes(self, dtype: Dtype) -> int:
        match dtype:
            case "float32":
                return 4 * (self.linear_weights + self.other_parameters)
            case "float16" | "bfloat16":
                return 2 * (self.linear_weights + self.other_parameters)
            case "int8":
                return self.linear_weights + SCALE_BYTES * self.linear_rows + 2 * self.other_parameters
            case "nf4":
                return round(NF4_BYTES * self.linear_weights) + 2 * self.other_parameters
            case "nf4-double":
                return round(NF4_DOUBLE_BYTES * self.linear_weights) + 2 * self.other_parameters


REFERENCE_MODELS: Final = (
    ReferenceModel("all-MiniLM-L6-v2", 10_764_288, 21_120, 11_948_928),
    ReferenceModel("e5-small", 21_381_120, 41_856, 11_978_880),
    ReferenceModel("bge-base", 85_524_480, 83_712, 23_957_760),
    ReferenceModel("phi-3-mini", 3_623_878_656, 1_015_808, 197_200_896),
)


class ReferenceRow(Struct, frozen=True):
    """One model in one dtype on the reference box."""

    model: str
    dtype: Dtype
    weights_bytes: int

    @property
    def from_ram_s(self) -> float:
        """RAM tier to card: bytes ÷ bus."""
        return self.weights_bytes / BUS_BYTES_PER_S

    @property
    def from_disk_s(self) -> float:
        """Disk to card, copied as it is read: the slower of bytes ÷ disk and bytes ÷ bus."""
        return max(self.weights_bytes / DISK_BYTES_PER_S, self.from_ram_s)

    @property
    def fits(self) -> bool:
        """Whether the weights alone fit the budget; the workspace for the model's limits comes on top."""
        return self.weights_bytes <= BUDGET_BYTES

    @property
    def needs(self) -> Literal["nothing", "RAM tier", "smaller dtype"]:
        """What a switch under the target needs. A smaller dtype also where the weights don't fit."""
        if not self.fits or self.from_ram_s >= SWITCH_TARGET_S:
            return "smaller dtype"
        return "RAM tier" if self.from_disk_s >= SWITCH_TARGET_S else "nothing"


def reference_table() -> tuple[ReferenceRow, ...]:
    """Every model in every dtype."""
    return tuple(
        ReferenceRow(model.name, dtype, model.weights_bytes(dtype))
        for model in REFERENCE_MODELS
        for dtype in REFERENCE_DTYPES
    )


def slow_switches(state: State) -> Iterator[str]:
    """Each model whose switch from disk is predicted to miss the target even on the quickest GPU that can hold it, and what
    helps: a RAM tier with room for it, or fewer bytes."""
    for model in state.models.values():
        name, weights_bytes = model.spec.name, model.footprint.weights_bytes
        gpus = _possible_gpus(state, model)
        if not gpus:
            continue
        from_ram_s, from_disk_s = (_quickest_s(state, name, gpus, tier) for tier in ("ram", "disk"))
        if from_ram_s >= SWITCH_TARGET_S:
            yield (
                f"{name} takes about {from_ram_s:.1f} s to a GPU even from the RAM tier, more than the"
                f" {SWITCH_TARGET_S:g} s that a switch is to take. Pin it where it is, or give it a smaller"
                f" dtype{_in_time(state, model, gpus)}."
            )
        elif from_disk_s >= SWITCH_TARGET_S:
            yield (
                f"{name} takes about {from_disk_s:.1f} s to a GPU from disk, more than the {SWITCH_TARGET_S:g} s that a"
                f" switch is to take; from the RAM tier about {from_ram_s:.1f} s. {_ram_tier(state, weights_bytes)}"
            )


def _in_time(state: State, model: ModelState, gpus: Iterable[DeviceId]) -> str:
    """The most exact dtype in which it would be in time, and how long it would take then."""
    for dtype in WEIGHT_ONLY:
        if dtype not in model.smaller:
            continue
        smaller = replace(model, footprint=model.smaller[dtype])
        then = replace(state, models={**state.models, model.spec.name: smaller})
        if (takes_s := _quickest_s(then, model.spec.name, gpus, "ram")) < SWITCH_TARGET_S:
            return f": in {dtype} about {takes_s:.1f} s"
    return ""


def _possible_gpus(state: State, model: ModelState) -> tuple[DeviceId, ...]:
    """Those that can hold it; none when its sizes are not known."""
    if model.trouble:
        return ()
    return tuple(d for d in state.devices if d != CPU and model.footprint.total_bytes <= budget(state, d))


def _quickest_s(state: State, model: ModelName, gpus: Iterable[DeviceId], tier: Tier) -> float:
    return min(load_time(state, model, device, tier).p50_s for device in gpus)


def _ram_tier(state: State, weights_bytes: int) -> str:
    has, needs = format_room(state.ram.budget_bytes), format_size(weights_bytes)
    if weights_bytes <= state.ram.budget_bytes:
        return f"The RAM tier of {has} has room for its {needs}: prepare and load it before it is needed."
    return f"The RAM tier of {has} has no room for its {needs}: raise ram_tier.budget."
