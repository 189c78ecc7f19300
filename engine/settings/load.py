"""Where the configuration is, and its files and the environment to settings, or to the list of all that is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import fields, replace

from engine.core.models import ModelSpec, Pin
from engine.core.names import CPU, DeviceId
from engine.core.serialization import converted
from engine.defaults import DEFAULTS_FOLDER
from engine.devices.inventory import NO_CARDS, Inventory
from engine.paths import config_home
from engine.settings.catalog import read_catalog
from engine.settings.check import differences
from engine.settings.documents import read_yaml, without_nulls
from engine.settings.environment import applied, read_environment
from engine.settings.gpus import UNKNOWN_GPUS, find_gpus, usable_cards
from engine.settings.problems import Place, Problem, SettingsError
from engine.settings.schema import Allocation, Settings, decode_size


def on_visible(models: Iterable[ModelSpec], visible: Collection[DeviceId]) -> tuple[ModelSpec, ...]:
    """`models` without their ties to hidden GPUs; a pinned model stays pinned, wherever it goes."""
    return tuple(_untied(model, visible) for model in models)


def hidden_ties(models: Iterable[ModelSpec], visible: Collection[DeviceId]) -> Iterator[str]:
    """A warning for each model that is meant for a hidden GPU."""
    for model in models:
        wanted = [model.preferred_device, model.pin.device if model.pin else None]
        if hidden := [device for device in wanted if device and not _reachable(device, visible)]:
            why = "which the environment hides or which can run no model"
            yield f"{model.name} is meant for {hidden[-1]}, {why}; it goes where there is room"


def _untied(model: ModelSpec, visible: Collection[DeviceId]) -> ModelSpec:
    preferred, pin = model.preferred_device, model.pin
    if preferred and not _reachable(preferred, visible):
        preferred = None
    if pin and pin.device and not _reachable(pin.device, visible):
        pin = Pin()
    return replace(model, preferred_device=preferred, pin=pin)


def _reachable(device: DeviceId, visible: Collection[DeviceId]) -> bool:
    return device == CPU or device in visible


ALLOCATION_FILE: Final = "gpu_allocation.yaml"


def load_settings(
    folder: Path, environment: Mapping[str, str], dotenv: Path | None, inventory: Inventory = NO_CARDS
) -> Settings:
    """What the files in `folder` say, with the word of `environment` and of `dotenv` over it.

    `inventory`: the cards of this machine. Raises SettingsError with all problems at once.
    """
    problems: list[Problem] = []
    said = read_environment(environment, dotenv, problems)
    in_file = _read_allocation(folder, problems)
    at = Place(ALLOCATION_FILE).child("devices.virtual")
    gpus = find_gpus(in_file.devices.virtual, said, inventory, at, problems) if in_file else UNKNOWN_GPUS
    # Without the devices nothing can be said about those that the catalog and the environment name.
    catalog = read_catalog(folder, None if gpus.names is None else (*gpus.names, CPU), problems)
    if problems or in_file is None:
        raise SettingsError(f"The configuration in {folder} was refused; nothing was started or changed.", problems)
    allocation = applied(in_file, said.variables)
    return Settings(
        **{name: getattr(allocation, name) for name in Allocation.__struct_fields__},
        folder=str(folder),
        gpus=dict(gpus.visible),
        cards=usable_cards(inventory),
        models=on_visible(catalog, gpus.visible),
        warnings=(*said.warnings, *gpus.warnings, *hidden_ties(catalog, gpus.visible)),
    )


def _read_allocation(folder: Path, problems: list[Problem]) -> Allocation | None:
    """What the file says, with defaults for what is wrong in it; None when it does not even tell the devices."""
    document = read_yaml(folder / ALLOCATION_FILE, problems)
    if document is None:
        return None
    found = list(differences(document, Allocation, Place(ALLOCATION_FILE)))
    problems += found
    wrong = {re.split(r"[.\[]", problem.at.key)[0] for problem in found}
    if not isinstance(document, dict) or "devices" in wrong:
        return None
    known = {field.encode_name for field in fields(Allocation)}
    sound = {key: value for key, value in document.items() if key in known - wrong}
    return converted(without_nulls(sound), Allocation, dec_hook=decode_size)


def find_config_folder(argument: Path | None, environment: Mapping[str, str], cwd: Path) -> Path:
    """The folder named by `--config`, else by $CITADEL_CONFIG, else ./config, else the user's own, else the program's.

    A folder that was named must exist. Raises SettingsError.
    """
    if argument is not None:
        return _named(cwd / argument.expanduser(), "--config")
    if variable := environment.get("CITADEL_CONFIG"):
        return _named(cwd / Path(variable).expanduser(), "CITADEL_CONFIG")
    candidates = (cwd / "config", config_home(environment))
    return next(filter(_is_written, candidates), DEFAULTS_FOLDER)


def find_dotenv(folder: Path, cwd: Path) -> Path | None:
    """`.env` beside the configuration's folder, else in the working folder, if there is one."""
    candidates = (folder.parent / ".env", cwd / ".env")
    return next((path for path in candidates if path.is_file()), None)


def _is_written(folder: Path) -> bool:
    try:
        return (folder / ALLOCATION_FILE).is_file()
    except OSError as error:  # as in the home of somebody else, after su
        raise SettingsError(
            f"{folder} can't be looked at for {ALLOCATION_FILE}: {error.strerror}; name another folder with --config FOLDER "
            "or CITADEL_CONFIG"
        ) from None


def _named(folder: Path, where: str) -> Path:
    if not folder.is_dir():
        raise SettingsError(f"{where} names {folder}, which is not a folder; it must hold {ALLOCATION_FILE}.")
    return folder.resolve()
