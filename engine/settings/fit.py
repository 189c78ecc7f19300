"""Settings to devices, and whether the models of the catalog fit them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from engine.core.devices import DeviceSpec
from engine.core.models import Dtype, Footprint, ModelSpec, smaller_would_fit
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.sizes import GIB, MIB, format_room, format_size
from engine.settings.load import ALLOCATION_FILE
from engine.settings.problems import Place, Problem, SettingsError
from engine.settings.schema import RAM, CardSpec, Settings, VirtualGpu


class Fit(NamedTuple):
    """Whether the devices can hold the catalog: errors forbid a start, warnings don't."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]


OWN_BYTES: Final = 448 * MIB
"""Of host RAM, what engine, fork server and workers take before the first model: PyTorch and transformers above all."""
_SHARE: Final = 1 / 3
"""Of what a small host has beside that, for the RAM tier and for each of the two virtual GPUs, where nothing is said of them."""


def ram_tier_bytes(settings: Settings, host_total_bytes: int) -> int:
    """What the configuration gives the RAM tier on a host with so much memory, or within such a limit."""
    beside_gpus = _beside_ours(host_total_bytes) - _virtual_bytes(settings)
    return int(settings.ram_tier.budget_bytes or max(MIB, min(2 * GIB, _share(host_total_bytes), beside_gpus)))


def device_specs(
    settings: Settings, host_total_bytes: int, all_of_it: str = "which is all that this host has"
) -> tuple[DeviceSpec, ...]:
    """The visible GPUs and the CPU. `all_of_it`: who says that there is not more. Raises SettingsError when the host has less
    memory than they take."""
    if problems := list(_beyond_host(settings, host_total_bytes, all_of_it)):
        raise SettingsError(f"The configuration in {settings.folder} does not fit this host.", problems)
    gpus = (_gpu(name, gpu, settings) for name, gpu in settings.gpus.items())
    if settings.devices.virtual is None:
        most_bytes = _share(host_total_bytes)
        gpus = (gpu if gpu.on_card else replace(gpu, total_bytes=min(gpu.total_bytes, most_bytes)) for gpu in gpus)
    cpu_bytes = int(settings.devices.cpu_memory_bytes or min(host_total_bytes // 2, _beside_ours(host_total_bytes)))
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
                f"{needs} and fits no device; the largest budget is {format_room(budgets[largest])} on {largest}. "
                f"Give a device more memory in {ALLOCATION_FILE}, lower the model's limits, or take it from the catalog"
                f"{_remedy(others, budgets[largest])}."
            )
        elif gpus and all(needed > budgets[gpu] for gpu in gpus):
            most = max(budgets[gpu] for gpu in gpus)
            why = f"{needs} and fits only the CPU; the largest budget of a GPU is {format_room(most)}"
            warnings.append(f"{why}{_remedy(others, most)}.")
    for model in models:
        device, wanted = model.pin.device if model.pin else None, footprints.get(model.name)
        if device and wanted and budgets[device] < wanted.total_bytes <= budgets[largest]:
            errors.append(
                f"{model.name} is pinned to {device}, whose budget is {format_room(budgets[device])}; "
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


def _beside_ours(host_total_bytes: int) -> int:
    return max(MIB, host_total_bytes - OWN_BYTES)


def _share(host_total_bytes: int) -> int:
    return int(_beside_ours(host_total_bytes) * _SHARE)


def _virtual_bytes(settings: Settings) -> int:
    """Host RAM of the virtual GPUs that the configuration names; others take what is there."""
    named = settings.gpus.values() if settings.devices.virtual is not None else ()
    return sum(gpu.memory_bytes for gpu in named if gpu.backing == RAM)


def _beyond_host(settings: Settings, host_total_bytes: int, all_of_it: str) -> Iterator[Problem]:
    at, host = Place(ALLOCATION_FILE), format_room(host_total_bytes)
    taken_bytes = _virtual_bytes(settings) + (settings.ram_tier.budget_bytes or 0)
    if taken_bytes > host_total_bytes:
        what = f"with ram_tier.budget they take {format_size(taken_bytes)} of host RAM"
        yield Problem(at.child("devices.virtual"), what, f"{host} together, {all_of_it}")
    cpu_bytes = settings.devices.cpu_memory_bytes or 0
    if cpu_bytes > host_total_bytes:
        what = f"{format_size(cpu_bytes)} is given"
        yield Problem(at.child("devices.cpu_memory"), what, f"at most {host}, {all_of_it}")
