"""The state that an engine starts from: configured devices, and models with what their sources say of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.core.devices import DeviceSpec, Reading
from engine.core.prediction import Rates
from engine.core.models import Footprint
from engine.core.names import ModelName
from engine.core.state import DeviceState, ModelState, RamTier, State
from engine.settings import Settings, SettingsError, check_fit
from engine.weights.errors import BadCheckpoint, WeightsError
from engine.weights.estimates import estimate_footprint, estimate_in_int8
from engine.weights.slab import open_prepared
from engine.weights.sources import Source, prepared_folder, resolve

_COPY_GUESS: Final = Rates(guess_bytes_per_s=4e9, overhead_s=0.002)
_BINDING_GUESS: Final = Rates(guess_bytes_per_s=1e12, overhead_s=0.002)
_FIRST_BINDING_GUESS: Final = Rates(guess_bytes_per_s=5e9, overhead_s=0.03)
_EVICTING_GUESS: Final = Rates(guess_bytes_per_s=1e12, overhead_s=0.002)
_DISK_GUESS: Final = Rates(guess_bytes_per_s=1e9, overhead_s=0.002)
_SOURCE_GUESS: Final = Rates(guess_bytes_per_s=200e6, overhead_s=0.1)
"""What is predicted with until something has been measured; a device's own copy rates, where they are known, go first."""


class Start(Struct, frozen=True):
    """A state to begin with, and what has to be said about it."""

    state: State
    sources: dict[ModelName, Source]
    """Of the models that can be loaded."""
    warnings: tuple[str, ...]


def initial_state(settings: Settings, specs: Sequence[DeviceSpec], cache: Path) -> Start:
    """Nobody resident, every device `starting`. A model whose weights are not there is known, and says so when it is asked for.

    Raises SettingsError when a model fits no device at all.
    """
    sources: dict[ModelName, Source] = {}
    models: dict[ModelName, ModelState] = {}
    warnings = list(settings.warnings)
    for spec in settings.models:
        try:
            source = resolve(spec, cache)
            footprint, in_int8 = estimate_footprint(spec, source), estimate_in_int8(spec, source)
        except WeightsError as error:
            models[spec.name] = ModelState(spec, Footprint(0, 0), pin=spec.pin, trouble=str(error))
            warnings.append(str(error))
        else:
            sources[spec.name] = source
            folder = prepared_folder(spec, source, cache)
            why_not = _why_not_prepared(folder)
            models[spec.name] = ModelState(spec, footprint, source.text, not why_not, spec.pin, in_int8=in_int8)
            if why_not and folder.exists():
                warnings.append(f"{why_not}: `citadel prepare {spec.name}` does it now, its next load otherwise")
    warnings += _check_fit(settings, specs, models)
    devices = {spec.id: _device(spec) for spec in specs}
    ram = RamTier(int(settings.ram_tier.budget_bytes), settings.ram_tier.max_models)
    return Start(State(devices, models, ram, disk=_DISK_GUESS, source=_SOURCE_GUESS), sources, tuple(warnings))


def _check_fit(settings: Settings, specs: Sequence[DeviceSpec], models: dict[ModelName, ModelState]) -> tuple[str, ...]:
    known = {name: model for name, model in models.items() if not model.trouble}
    footprints = {name: model.footprint for name, model in known.items()}
    in_int8 = {name: model.in_int8 for name, model in known.items() if model.in_int8}
    fit = check_fit(specs, footprints, settings.models, in_int8)
    if fit.errors:
        listed = "\n".join(f"  {error}" for error in fit.errors)
        raise SettingsError(
            f"The catalog in {settings.folder} does not fit the devices; nothing was started.\n{listed}"
        )
    return fit.warnings


def _device(spec: DeviceSpec) -> DeviceState:
    return DeviceState(
        spec,
        Reading("starting", "its worker is being started"),
        _COPY_GUESS,
        binding=_BINDING_GUESS,
        first_binding=_FIRST_BINDING_GUESS,
        evicting=_EVICTING_GUESS,
    )


def _why_not_prepared(folder: Path) -> str:
    """What is wrong with the prepared folder, or that it is not there; empty when it is whole."""
    try:
        open_prepared(folder)
    except BadCheckpoint as bad:
        return str(bad)
    return ""
