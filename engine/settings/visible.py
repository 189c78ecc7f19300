"""Which GPUs the environment leaves visible, and what becomes of models that were meant for a hidden one.

GPUs keep the names that they have in the file: hiding gpu0 does not rename gpu1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from msgspec import UnsetType
from msgspec.structs import replace

from engine.core.models import ModelSpec, Pin
from engine.core.names import CPU, DeviceId
from engine.settings.environment import Environment
from engine.settings.problems import Place, Problem, given

_VARIABLE: Final = "CUDA_VISIBLE_DEVICES"
_NO_GPU: Final = ("", "-1")


def visible_gpus(environment: Environment, gpus: Sequence[DeviceId], problems: list[Problem]) -> tuple[DeviceId, ...]:
    """Those of `gpus` that may be used: none when CUDA is off, else those selected by index, in the order of `gpus`."""
    said = environment.variables
    if not said.cuda_enabled:
        return ()
    if isinstance(said.cuda_visible_devices, UnsetType):
        return tuple(gpus)
    text = said.cuda_visible_devices.strip()
    if text in _NO_GPU:
        return ()
    indices = [part.strip() for part in text.split(",")]
    by_index = {str(index): gpu for index, gpu in enumerate(gpus)}
    if len(set(indices)) < len(indices) or not by_index.keys() >= set(indices):
        allowed = f"{', '.join(by_index)}, each at most once and with commas between; empty for no GPU"
        problems.append(Problem(Place(environment.origins[_VARIABLE], _VARIABLE), given(text), allowed))
        return ()
    return tuple(gpu for index, gpu in by_index.items() if index in indices)


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
