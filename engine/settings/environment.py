"""The environment's word over the files: the variables of the process and of `.env`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from engine.core.serialization import converted
from engine.settings.check import differences
from engine.settings.dotenv_file import Dotenv, read_dotenv
from engine.settings.problems import Place, Problem
from engine.settings.schema import Allocation, Fraction, ListenAddress, ModelCount, Seconds

PROCESS: Final = "environment"
DOTENV: Final = ".env"
_NO_GPU: Final = ("", "-1", "NoDevFiles")
"""The last is SLURM's word for a job that was given no card."""

_T = TypeVar("_T")


class Variables(Struct, frozen=True, rename=str.upper):
    """The variables that Citadel reads. Unset ones leave the files' word."""

    cuda_visible_devices: str | UnsetType = UNSET
    cuda_enabled: bool = True
    gpu_memory_fraction: Fraction | UnsetType = UNSET
    dynamic_loading_enabled: bool | UnsetType = UNSET
    cpu_fallback_enabled: bool | UnsetType = UNSET
    memory_monitoring_interval: Seconds | UnsetType = UNSET
    model_cache_size: ModelCount | UnsetType = UNSET
    citadel_listen: ListenAddress | UnsetType = UNSET


class Environment(Struct, frozen=True):
    """What the variables say, and where they were found."""

    variables: Variables = Variables()
    origins: dict[str, str] = {}
    """By variable: the `.env` file or the process environment."""
    warnings: tuple[str, ...] = ()

    @property
    def visible_devices(self) -> str | None:
        """What CUDA_VISIBLE_DEVICES says, or None when it is not set."""
        said = self.variables.cuda_visible_devices
        return None if isinstance(said, UnsetType) else said

    @property
    def hides_all_gpus(self) -> bool:
        chosen = self.visible_devices
        return not self.variables.cuda_enabled or (chosen is not None and chosen.strip() in _NO_GPU)

    def place(self, variable: str) -> Place:
        return Place(self.origins[variable], variable)


KNOWN: Final = tuple(field.encode_name for field in msgspec.structs.fields(Variables))


def read_environment(process: Mapping[str, str], dotenv: Path | None, problems: list[Problem]) -> Environment:
    """Our variables; the process goes before `.env`. A wrong one is added to `problems` and left unset."""
    file = read_dotenv(dotenv, KNOWN, problems) if dotenv else Dotenv()
    by_origin = {
        PROCESS: {name: process[name] for name in KNOWN if name in process},
        DOTENV: {name: value for name, value in file.values.items() if name not in process},
    }
    found = [
        problem
        for origin, values in by_origin.items()
        for problem in differences(values, Variables, Place(origin), strict=False)
    ]
    problems += found
    wrong = {problem.at.key for problem in found}
    sound = {name: value for values in by_origin.values() for name, value in values.items() if name not in wrong}
    return Environment(
        converted(sound, Variables, strict=False),
        {name: origin for origin, values in by_origin.items() for name in values},
        file.warnings,
    )


def applied(allocation: Allocation, said: Variables) -> Allocation:
    """`allocation` with what the environment says instead."""
    policy, monitoring, ram_tier = allocation.policy, allocation.monitoring, allocation.ram_tier
    return replace(
        allocation,
        memory_fraction=_or(said.gpu_memory_fraction, allocation.memory_fraction),
        policy=replace(
            policy,
            dynamic_loading=_or(said.dynamic_loading_enabled, policy.dynamic_loading),
            cpu_fallback=_or(said.cpu_fallback_enabled, policy.cpu_fallback),
        ),
        monitoring=replace(monitoring, interval_s=_or(said.memory_monitoring_interval, monitoring.interval_s)),
        ram_tier=replace(ram_tier, max_models=_or(said.model_cache_size, ram_tier.max_models)),
        http=replace(allocation.http, listen=_or(said.citadel_listen, allocation.http.listen)),
    )


def _or(said: _T | UnsetType, otherwise: _T) -> _T:
    return otherwise if isinstance(said, UnsetType) else said
