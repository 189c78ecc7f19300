"""Settings to devices, and whether the models of the catalog fit them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from engine.core.devices import DeviceSpec
from engine.core.models import Dtype, Footprint, ModelSpec, smaller_would_fit
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.sizes import format_size
from engine.settings.load import ALLOCATION_FILE
from engine.settings.problems import Place, Problem, SettingsError
from engine.settings.schema import RAM, CardSpec, Settings, VirtualGpu


class Fit(NamedTuple):
    """Whether the devices can hold the catalog: errors forbid a start, warnings don't."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def device_specs(settings: Settings, host_total_bytes: int) -> tuple[DeviceSpec, ...]:
    """The visible GPUs and the CPU. Raises SettingsError when the host has less memory than they take."""
    if problems := list(_beyond_host(settings, host_total_bytes)):
        raise SettingsError(f"The configuration in {settings.folder} does not fit this host.", problems)
    gpus = (_gpu(name, gpu, settings) for name, gpu in settings.gpus.items())
    cpu_bytes = int(settings.devices.cpu_memory_bytes or host_total_bytes // 2)
    # The CPU's limit is already a share of the host; the GPUs' fraction is not taken off it again.
    return (*gpus, DeviceSpec(CPU, "CPU", "cpu", "host", cpu_bytes, 1.0))


def check_fit(
    specs: Sequence[DeviceSpec],
    footprints: Mapping[ModelName, Footprint],
    models: Iterable[ModelSpec] = (),
    smaller: Mapping[ModelName, Mapping[Dtype, Footprint]] | None = None,
) -> Fit:
    """Which models can never be placed on `specs`, and which only on the CPU. `models`: their pins are checked too.
    `smaller`: what they would need in the dtypes that make them smaller."""
    errors, warnings = [], []
    budgets = {spec.id: int(spec.fraction * spec.total_bytes) for spec in specs}
    largest = max(budgets, key=budgets.__getitem__)
    gpus = [device for device in budgets if device != CPU]
    for name, footprint in footprints.items():
        needed = footprint.total_bytes
        needs = f"{name} needs {format_size(needed)} ({footprint.label})"
        others = smaller.get(name, {}) if smaller else {}
        if needed > budgets[largest]:
            errors.append(
                f"{needs} and fits no device; the largest budget is {format_size(budgets[largest])} on {largest}. "
                f"Give a device more memory in {ALLOCATION_FILE}, lower the model's limits, or take it from the catalog"
                f"{_remedy(others, budgets[largest])}."
            )
        elif gpus and all(needed > budgets[gpu] for gpu in gpus):
            most = max(budgets[gpu] for gpu in gpus)
            why = f"{needs} and fits only the CPU; the largest budget of a GPU is {format_size(most)}"
            warnings.append(f"{why}{_remedy(others, most)}.")
    for model in models:
        device, wanted = model.pin.device if model.pin else None, footprints.get(model.name)
        if device and wanted and budgets[device] < wanted.total_bytes <= budgets[largest]:
            errors.append(
                f"{model.name} is pinned to {device}, whose budget is {format_size(budgets[device])}; "
                f"it needs {format_size(wanted.total_bytes)}. Pin it elsewhere, or give {device} more memory."
            )
    return Fit(tuple(errors), tuple(warnings))


NF4_CAPABILITY: Final = (6, 0)
"""The oldest cards that bitsandbytes supports 4 bits on. Older ones compute float16 no faster than float32."""


class TooOld(NamedTuple):
    """A model's dtype makes no sense on some cards that it may be placed on."""

    words: str
    """Which cards, and what helps."""
    is_everywhere: bool
    """Whether it may be placed on no other GPU, so that it is not to be loaded."""


def too_old(spec: ModelSpec, settings: Settings) -> TooOld | None:
    """What is to be said of the visible cards' capability; None when all that it may be placed on can do with its dtype."""
    if spec.dtype not in ("nf4", "nf4-double"):
        return None
    pinned_to = spec.pin.device if spec.pin else None
    ordinals = {name: gpu.ordinal for name, gpu in settings.gpus.items() if pinned_to in (None, name)}
    capabilities = {name: None if at is None else settings.cards[at].capability for name, at in ordinals.items()}
    old = [
        f"{name} has {known[0]}.{known[1]}" for name, known in capabilities.items() if known and known < NF4_CAPABILITY
    ]
    if not old:
        return None
    needs = "takes a card of compute capability {}.{} or newer".format(*NF4_CAPABILITY)
    is_everywhere = len(old) == len(capabilities)
    remedy = 'choose "float32", or "int8" where that is too large' if is_everywhere else "pin it to another device"
    return TooOld(f'{spec.name}: "dtype": "{spec.dtype}" {needs}, and {" and ".join(old)}; {remedy}', is_everywhere)


def _remedy(smaller: Mapping[Dtype, Footprint], budget_bytes: int) -> str:
    would_fit = smaller_would_fit(smaller, budget_bytes)
    return would_fit and f"; {would_fit}"


def _gpu(name: DeviceId, gpu: VirtualGpu | CardSpec, settings: Settings) -> DeviceSpec:
    if isinstance(gpu, CardSpec):
        title = gpu.title
    elif gpu.ordinal is None:
        title = "virtual GPU in host RAM"
    else:
        title = f"slice of {settings.cards[gpu.ordinal].title}"
    card = None if gpu.ordinal is None else settings.cards[gpu.ordinal]
    return DeviceSpec(
        name,
        title,
        "gpu",
        gpu.backing,
        int(gpu.memory_bytes),
        settings.memory_fraction,
        card.uuid if card else None,
        card.bus_id if card else None,
        is_whole_card=isinstance(gpu, CardSpec),
    )


def _beyond_host(settings: Settings, host_total_bytes: int) -> Iterator[Problem]:
    at, host = Place(ALLOCATION_FILE), format_size(host_total_bytes)
    virtual_bytes = sum(gpu.memory_bytes for gpu in settings.gpus.values() if gpu.backing == RAM)
    taken_bytes = virtual_bytes + settings.ram_tier.budget_bytes
    if taken_bytes > host_total_bytes:
        what = f"with ram_tier.budget they take {format_size(taken_bytes)} of host RAM"
        yield Problem(at.child("devices.virtual"), what, f"{host} together, which is all that this host has")
    cpu_bytes = settings.devices.cpu_memory_bytes or 0
    if cpu_bytes > host_total_bytes:
        what = f"{format_size(cpu_bytes)} is given"
        yield Problem(at.child("devices.cpu_memory"), what, f"at most {host}, which is all that this host has")
