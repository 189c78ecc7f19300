"""Snapshots of a fleet, built by hand: boxes with two virtual GPUs or four cards each, models on some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from engine.api import Snapshot
from engine.core.boxes import BoxView
from engine.core.names import BoxName, DeviceId, ModelName, on_box
from engine.core.state import DeviceState, Resident, State
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import START_S, measured, scripted_state
from tests.tui.busy_engines import with_gpus, with_models

READY: Final = BoxView("ready", heard_s=START_S, host="rack", version="0.1.0")
SILENT: Final = BoxView("silent", "no sign of life", START_S - 12, 12.0, "rack", "0.1.0")
GONE: Final = BoxView("unreachable", "no route to host", START_S - 300, 300.0, "rack", "0.1.0")
NEVER: Final = BoxView("unreachable", "its name is not known")
OTHER: Final = BoxView("other version", "its engine speaks protocol 6", START_S, version="0.0.9")
DRAINED: Final = replace(READY, drained=True)

PLACES: Final[Mapping[ModelName, tuple[DeviceId, ...]]] = {
    "all-MiniLM-L6-v2": ("box1/gpu0", "box2/gpu1"),
    "bge-base": ("box2/gpu0",),
    "e5-small": ("box3/cpu",),
}
"""Of three boxes; phi-3-mini is on none."""


def fleet_state(
    boxes: int = 3, gpus: int = 2, models: int = 4, places: Mapping[ModelName, tuple[DeviceId, ...]] = PLACES
) -> State:
    """`box1`, `box2`, … with so many GPUs and a CPU each."""
    alone = with_gpus(scripted_state(), gpus)
    devices: dict[DeviceId, DeviceState] = {}
    for number in range(1, boxes + 1):
        for device, known in alone.devices.items():
            name = on_box(f"box{number}", device)
            devices[name] = replace(known, spec=replace(known.spec, id=name))
    state = with_models(replace(alone, devices=devices), models)
    there = [
        Resident(model, device, "ready", state.models[model].footprint, START_S, idle_since_s=START_S)
        for model, where in places.items()
        for device in where
        if model in state.models
    ]
    return measured(replace(state, residents=tuple(there)))


def boxes_of(state: State, **other: BoxView) -> dict[BoxName, BoxView]:
    """The boxes that `state` has devices of, all ready but those that are told otherwise; also such that it has none of."""
    names = dict.fromkeys(name.rpartition("/")[0] for name in state.devices)
    return {**dict.fromkeys(names, READY), **other}


class ScriptedFleet(ScriptedEngine):
    """The scripted engine as a fleet shows itself."""

    def __init__(self, state: State | None = None, **other: BoxView) -> None:
        super().__init__(state or fleet_state())
        self.banner = ""
        self.boxes = boxes_of(self.state, **other)

    async def snapshot(self) -> Snapshot:
        return replace(await super().snapshot(), boxes=self.boxes)

    def set_boxes(self, **other: BoxView) -> None:
        """These stand otherwise from now on."""
        self.boxes = {**self.boxes, **other}
        self._changed()


def busy_places(boxes: int, gpus: int, models: int) -> dict[ModelName, tuple[DeviceId, ...]]:
    """Two of the small models on each GPU, turn by turn."""
    names = [f"reranker-{number}" for number in range(1, models - 3)]
    places: dict[ModelName, list[DeviceId]] = {}
    for at in range(boxes * gpus):
        device = on_box(f"box{at // gpus + 1}", f"gpu{at % gpus}")
        for model in dict.fromkeys(names[(2 * at + more) % len(names)] for more in (0, 1)):
            places.setdefault(model, []).append(device)
    return {model: tuple(where) for model, where in places.items()}
