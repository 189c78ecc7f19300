"""The state that an engine starts from: configured devices, models with what their sources say of them, and what is known from
earlier: who was resident and pinned, what can still be undone, and how fast bytes moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from engine.core.commands import Submission
from engine.core.devices import DeviceSpec, Reading
from engine.core.forecast.calibration import learned
from engine.core.ledger import set_pin
from engine.core.models import Footprint, ModelSpec, Pin
from engine.core.names import DeviceId, ModelName
from engine.core.prediction import Rates
from engine.core.proposing.undo import remembered
from engine.core.records import Pinned, Record, Residency, Switch
from engine.core.state import DeviceState, ModelState, RamTier, State
from engine.libraries import torch_version
from engine.recording.copy_rates import Circumstances, recall
from engine.recording.residency import KeptResidency
from engine.settings import Settings, SettingsError, check_fit, too_old
from engine.weights.errors import BadCheckpoint, WeightsError
from engine.weights.estimates import estimate_footprint, estimate_smaller
from engine.weights.sequence_limits import settle_limits
from engine.weights.slab import open_prepared
from engine.weights.sources import Source, prepared_folder, resolve

_COPY_GUESS: Final = Rates(guess_bytes_per_s=4e9, overhead_s=0.002)
_BINDING_GUESS: Final = Rates(guess_bytes_per_s=1e12, overhead_s=0.002)
_FIRST_BINDING_GUESS: Final = Rates(guess_bytes_per_s=5e9, overhead_s=0.03)
_EVICTING_GUESS: Final = Rates(guess_bytes_per_s=1e12, overhead_s=0.002)
_DISK_GUESS: Final = Rates(guess_bytes_per_s=1e9, overhead_s=0.002)
# Most of preparing is a process that starts and imports PyTorch and transformers, whatever the size of the model.
_SOURCE_GUESS: Final = Rates(guess_bytes_per_s=100e6, overhead_s=4.0)
"""What is predicted with until something has been measured; a device's own copy rates, where they are known, go first."""


class Start(Struct, frozen=True):
    """A state to begin with, and what has to be said about it."""

    state: State
    sources: dict[ModelName, Source]
    """Of the models that can be loaded."""
    warnings: tuple[str, ...]


class ModelLook(Struct, frozen=True):
    """What a catalog entry's sources say of it."""

    state: ModelState
    source: Source | None
    """None when it can't be loaded."""
    warnings: tuple[str, ...] = ()


def initial_state(settings: Settings, specs: Sequence[DeviceSpec], cache: Path, ram_tier_bytes: int) -> Start:
    """Nobody resident, every device `starting`. A model whose weights are not there is known, and says so when it is asked for.

    Raises SettingsError when a model fits no device at all.
    """
    looks = {spec.name: look_at(spec, settings, specs, cache) for spec in settings.models}
    models = {name: look.state for name, look in looks.items()}
    warnings = [*settings.warnings, *(warning for look in looks.values() for warning in look.warnings)]
    warnings += check_models_fit(settings, specs, models)
    lost_since_s = {card.uuid: card.lost_since_s for card in settings.cards.values()}
    devices = {spec.id: _device(spec, lost_since_s.get(spec.uuid or "")) for spec in specs}
    ram = RamTier(ram_tier_bytes, settings.ram_tier.max_models, most_bytes=ram_tier_bytes)
    sources = {name: look.source for name, look in looks.items() if look.source is not None}
    return Start(State(devices, models, ram, disk=_DISK_GUESS, source=_SOURCE_GUESS), sources, tuple(warnings))


def look_at(listed: ModelSpec, settings: Settings, specs: Sequence[DeviceSpec], cache: Path) -> ModelLook:
    """Read all but the weights of the model that the catalog lists. To be done again for one that could not be loaded: somebody
    may have mended it."""
    warnings: list[str] = []
    if old := too_old(listed, settings):
        warnings.append(old.words)
        if old.is_everywhere:
            return _refused(listed, old.words)
    try:
        source = resolve(listed, cache)
        settled = settle_limits(listed, source, specs)
        spec = replace(listed, limits=settled.limits)
        footprint, smaller = estimate_footprint(spec, source), estimate_smaller(spec, source)
    except WeightsError as error:
        return _refused(listed, str(error))
    warnings += (f"{spec.name} is taken from {source.text}; {passed_over}" for passed_over in source.passed_over)
    folder = prepared_folder(spec, source, cache)
    why_not = _why_not_prepared(folder)
    if settled.remark:
        warnings.append(settled.remark)
    if why_not and folder.exists():
        warnings.append(f"{why_not}: `citadel prepare {spec.name}` does it now, its next load otherwise")
    known = ModelState(
        spec,
        footprint,
        source.text,
        not why_not,
        spec.pin,
        smaller=smaller,
        keep_alive_s=(settings.policy.idle_s if spec.idle_s is None else spec.idle_s) or None,
        remark=settled.remark,
    )
    return ModelLook(known, source, tuple(warnings))


def check_models_fit(
    settings: Settings, specs: Sequence[DeviceSpec], models: Mapping[ModelName, ModelState]
) -> tuple[str, ...]:
    """What the operator should know of how the models fit the devices. Raises SettingsError when one fits none at all, or not
    where it is pinned."""
    known = {name: model for name, model in models.items() if not model.trouble}
    footprints = {name: model.footprint for name, model in known.items()}
    smaller = {name: model.smaller for name, model in known.items()}
    fit = check_fit(specs, footprints, [model.spec for model in known.values()], smaller)
    if fit.errors:
        listed = "\n".join(f"  {error}" for error in fit.errors)
        raise SettingsError(
            f"The catalog in {settings.folder} does not fit the devices; nothing was started or changed.\n{listed}"
        )
    return fit.warnings


def _refused(spec: ModelSpec, why: str) -> ModelLook:
    return ModelLook(ModelState(spec, Footprint(0, 0), pin=spec.pin, trouble=why), None, (why,))


def _device(spec: DeviceSpec, lost_since_s: float | None) -> DeviceState:
    return DeviceState(
        spec,
        Reading("starting", "its worker is being started", at_s=lost_since_s or 0.0),
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


# ── what is known from earlier ───────────────────────────────────────────────────────────────────


def residency_before(kept: KeptResidency, past: Sequence[Record]) -> Residency | None:
    """Who was resident and pinned when the last engine ended. The journal says so where no engine has kept the file yet."""
    if kept.is_there:
        return kept.residency
    return next((r.entry for r in reversed(past) if isinstance(r.entry, Residency)), None)


def with_pins(state: State, residency: Residency) -> State:
    """`state` with the pins of `residency` in place of the catalog's, as far as models and devices still exist."""
    for model in state.models:
        device = residency.pins.get(model)
        known = model in residency.pins and device in (None, *state.devices)
        state = set_pin(state, model, Pin(device) if known else None)
    return state


def with_changes(state: State, past: Iterable[Record]) -> State:
    """`state` with the operator's last changes, so that they can still be taken back after a restart."""
    for record in past:
        entry = record.entry
        if isinstance(entry, Pinned) or (isinstance(entry, Switch) and entry.outcome == "done"):
            known = all(s.model in state.models for s in entry.plan.steps)
            state = (
                remembered(state, Submission(entry.id, entry.plan.command, entry.origin), entry.plan, entry.at_s)
                if known
                else state
            )
    return state


def with_copy_rates(state: State, cards: Mapping[DeviceId, str], driver: str | None, cache: Path) -> State:
    """`state` with the copy rates that `citadel gpus --measure` has found for its cards, with this driver and torch."""
    devices = dict(state.devices)
    for device, uuid in cards.items():
        kept = recall(cache, Circumstances(uuid, driver or "", torch_version()))
        if kept is not None:
            known, rate = devices[device], kept.rates.to_card_pinned
            rates = replace(known.rates, guess_bytes_per_s=rate)
            devices[device] = replace(known, rates=rates, copy_bytes_per_s=rate)
    return replace(state, devices=devices)


def with_run_rates(state: State, kept: Mapping[tuple[ModelName, str], Rates]) -> State:
    """`state` with how long runs took before a restart, by model and kind of device."""
    models = dict(state.models)
    for (model, kind), rates in kept.items():
        models[model] = replace(models[model], run_rates={**models[model].run_rates, kind: rates})
    return replace(state, models=models)


def with_rates(state: State, past: Iterable[Record]) -> State:
    """`state` with what recorded switches showed of the devices and the disk."""
    for record in past:
        if isinstance(record.entry, Switch):
            state = learned(state, record.entry)
    return state
