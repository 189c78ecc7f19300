"""The configuration: YAML, JSON and environment in, frozen and checked settings out, or every mistake at once."""

from engine.settings.fit import Fit, TooOld, check_fit, device_specs, ram_tier_bytes, too_old
from engine.settings.load import find_config_folder, find_dotenv, load_settings
from engine.settings.problems import Problem, SettingsError
from engine.settings.schema import (
    CardSpec,
    JournalSettings,
    Loading,
    MonitoringSettings,
    RamTierSettings,
    Settings,
    Size,
    VirtualGpu,
)

__all__ = [
    "CardSpec",
    "Fit",
    "JournalSettings",
    "Loading",
    "MonitoringSettings",
    "Problem",
    "RamTierSettings",
    "Settings",
    "SettingsError",
    "Size",
    "TooOld",
    "VirtualGpu",
    "check_fit",
    "device_specs",
    "find_config_folder",
    "find_dotenv",
    "load_settings",
    "ram_tier_bytes",
    "too_old",
]
