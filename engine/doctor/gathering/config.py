"""What the configuration counts on, or why it can't be used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import UnsetType
from msgspec.structs import replace

from engine.devices.host import read_host_memory
from engine.devices.inventory import NO_CARDS, Inventory
from engine.doctor.machine import Config, Slice
from engine.settings import (
    Settings,
    SettingsError,
    VirtualGpu,
    device_specs,
    find_config_folder,
    find_dotenv,
    load_settings,
    ram_tier_bytes,
)
from engine.settings.environment import read_environment
from engine.settings.schema import RAM


def ask_config(
    argument: Path | None, environment: Mapping[str, str], cwd: Path, inventory: Inventory = NO_CARDS
) -> Config:
    """The configuration that an engine would be started with on a machine with these cards."""
    try:
        folder = find_config_folder(argument, environment, cwd)
    except SettingsError as error:
        return _with_environment(Config(trouble=str(error)), environment, None)
    dotenv = find_dotenv(folder, cwd)
    return _with_environment(_read(folder, environment, dotenv, inventory), environment, dotenv)


def _read(folder: Path, environment: Mapping[str, str], dotenv: Path | None, inventory: Inventory) -> Config:
    try:
        settings = load_settings(folder, environment, dotenv, inventory)
        host = read_host_memory()
        specs = device_specs(settings, host.total_bytes, host.all_of_it)
    except SettingsError as error:
        return Config(str(folder), str(error))
    slices = _slices(settings)
    in_ram_bytes = sum(spec.total_bytes for spec in specs if spec.backing == RAM)
    host_bytes = ram_tier_bytes(settings, host.total_bytes) + in_ram_bytes
    return Config(str(folder), warnings=settings.warnings, slices=slices, host_bytes=host_bytes)


def _slices(settings: Settings) -> tuple[Slice, ...]:
    uuids = settings.card_uuids
    return tuple(
        Slice(name, gpu.backing, int(gpu.memory_bytes), uuids.get(name))
        for name, gpu in settings.gpus.items()
        if isinstance(gpu, VirtualGpu)
    )


def _with_environment(config: Config, environment: Mapping[str, str], dotenv: Path | None) -> Config:
    """Which cards the environment leaves visible; what is wrong with it, `load_settings` has said already."""
    said = read_environment(environment, dotenv, []).variables
    visible = said.cuda_visible_devices
    chosen = None if isinstance(visible, UnsetType) else visible
    return replace(config, cuda_enabled=said.cuda_enabled, cuda_visible_devices=chosen)
