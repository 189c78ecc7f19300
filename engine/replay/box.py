"""The simulated box: its memory, how fast bytes move in it, and the state that it starts in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from engine.core.devices import DeviceSpec, Reading
from engine.core.ledger import budget
from engine.core.models import Footprint, ModelSpec
from engine.core.names import ModelName
from engine.core.planning.placement import gpus
from engine.core.prediction import Rates, predict
from engine.core.sizes import GB, MB, parse_bytes
from engine.core.state import DeviceState, ModelState, RamTier, State
from engine.recording.trace import TraceError

CYCLE_BYTES: Final = tuple(mb * MB for mb in (90, 130, 440, 700, 1300, 2200, 2400, 4000))
"""Sizes of models in common use, from a sentence embedder to a small chat model; given to the models of a trace in turn."""
SIZES_HEADING: Final = "model,size"


def cycled_sizes(models: Iterable[ModelName]) -> dict[ModelName, int]:
    """A size for each of `models`: `CYCLE_BYTES` in turn, in the order of their names."""
    return {model: CYCLE_BYTES[rank % len(CYCLE_BYTES)] for rank, model in enumerate(sorted(set(models)))}


def read_sizes(lines: Iterable[str], models: Iterable[ModelName]) -> dict[ModelName, int]:
    """The sizes of `models` from lines of `model,size`. Raises TraceError for a bad line, or a model that has no size."""
    sizes: dict[ModelName, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == 1 and line.strip() == SIZES_HEADING):
            continue
        model, _, size = line.strip().partition(",")
        try:
            sizes[model.strip()] = parse_bytes(size)
        except ValueError as error:
            raise TraceError(f"line {number}: {error}") from None
        if sizes[model.strip()] == 0:
            raise TraceError(f"line {number}: {model.strip()} has no bytes")
    if missing := sorted(set(models) - sizes.keys()):
        raise TraceError(f"no size is given for {', '.join(missing)}; each needs a line {SIZES_HEADING}")
    return {model: sizes[model] for model in sorted(set(models))}


class Box(Struct, frozen=True):
    """A machine for the replay. The defaults are two cards of 6 GB filled to 80 %, in a small workstation."""

    gpus_bytes: tuple[int, ...] = (4_800 * MB, 4_800 * MB)
    """The budget of each GPU."""
    ram_bytes: int = 11_260 * MB
    """The RAM tier: models that are not on a GPU rest here."""
    max_models: int | None = None
    """How many of them at most; None for as many as there are."""
    copy_bytes_per_s: float = 3e9
    """Host to GPU and back, each GPU by itself."""
    disk_bytes_per_s: float = 0.5e9


def box_of(state: State) -> Box:
    """The engine's GPUs and RAM tier, as fast as it predicts from what it has measured."""
    devices = gpus(state)
    slowest_s = max((predict(state.devices[d].rates, GB).p50_s for d in devices), default=GB / Box().copy_bytes_per_s)
    return Box(
        gpus_bytes=tuple(budget(state, device) for device in devices),
        ram_bytes=state.ram.budget_bytes,
        max_models=state.ram.max_models,
        copy_bytes_per_s=GB / slowest_s,
        disk_bytes_per_s=GB / predict(state.disk, GB).p50_s,
    )


def starting_state(box: Box, sizes: Mapping[ModelName, int]) -> State:
    """The box with nothing loaded and every model on disk. Raises TraceError for a model that no GPU can hold."""
    largest_bytes = max(box.gpus_bytes)
    for model, size_bytes in sizes.items():
        if size_bytes > largest_bytes:
            raise TraceError(
                f"{model} takes {size_bytes / GB:.2f} GB and the largest GPU of the box {largest_bytes / GB:.2f} GB; "
                "it could never be served"
            )
    copying = Rates(box.copy_bytes_per_s, overhead_s=0.0)
    specs = [
        DeviceSpec(f"gpu{index}", "simulated GPU", "gpu", "ram", size_bytes, 1.0)
        for index, size_bytes in enumerate(box.gpus_bytes)
    ]
    return State(
        devices={spec.id: DeviceState(spec, Reading("ok", used_bytes=0, external_bytes=0), copying) for spec in specs},
        models={
            model: ModelState(ModelSpec(model, (), "embedding"), Footprint(size_bytes, 0), prepared=True)
            for model, size_bytes in sizes.items()
        },
        ram=RamTier(box.ram_bytes, len(sizes) if box.max_models is None else box.max_models),
        disk=Rates(box.disk_bytes_per_s, overhead_s=0.0),
    )
