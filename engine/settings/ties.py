"""What becomes of models that were meant for a GPU which the environment hides."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from msgspec.structs import replace

from engine.core.models import ModelSpec, Pin
from engine.core.names import CPU, DeviceId


def on_visible(models: Iterable[ModelSpec], visible: Collection[DeviceId]) -> tuple[ModelSpec, ...]:
    """`models` without their ties to hidden GPUs; a pinned model stays pinned, wherever it goes."""
    return tuple(_untied(model, visible) for model in models)


def hidden_ties(models: Iterable[ModelSpec], visible: Collection[DeviceId]) -> Iterator[str]:
    """A warning for each model that is meant for a hidden GPU."""
    for model in models:
        wanted = [model.preferred_device, model.pin.device if model.pin else None]
        if hidden := [device for device in wanted if device and not _reachable(device, visible)]:
            yield f"{model.name} is meant for {hidden[-1]}, which the environment hides; it goes where there is room"


def _untied(model: ModelSpec, visible: Collection[DeviceId]) -> ModelSpec:
    preferred, pin = model.preferred_device, model.pin
    if preferred and not _reachable(preferred, visible):
        preferred = None
    if pin and pin.device and not _reachable(pin.device, visible):
        pin = Pin()
    return replace(model, preferred_device=preferred, pin=pin)


def _reachable(device: DeviceId, visible: Collection[DeviceId]) -> bool:
    return device == CPU or device in visible
