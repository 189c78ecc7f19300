"""Where the configuration is: which folder holds it, and which `.env` goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.paths import config_home
from engine.settings.load import ALLOCATION_FILE
from engine.settings.problems import SettingsError


def find_config_folder(argument: Path | None, environment: Mapping[str, str], cwd: Path) -> Path:
    """The folder named by `--config`, else by $CITADEL_CONFIG, else ./config, else the user's own.

    A folder that was named must exist. Raises SettingsError.
    """
    if argument is not None:
        return _named(cwd / argument.expanduser(), "--config")
    if variable := environment.get("CITADEL_CONFIG"):
        return _named(cwd / Path(variable).expanduser(), "CITADEL_CONFIG")
    candidates = (cwd / "config", config_home(environment))
    for folder in candidates:
        if (folder / ALLOCATION_FILE).is_file():
            return folder
    raise SettingsError(
        f"No configuration was found: {ALLOCATION_FILE} is neither in {candidates[0]} nor in {candidates[1]}. "
        "Run citadel in a folder that has config/, or name the folder with --config FOLDER or CITADEL_CONFIG."
    )


def find_dotenv(folder: Path, cwd: Path) -> Path | None:
    """`.env` beside the configuration's folder, else in the working folder, if there is one."""
    candidates = (folder.parent / ".env", cwd / ".env")
    return next((path for path in candidates if path.is_file()), None)


def _named(folder: Path, where: str) -> Path:
    if not folder.is_dir():
        raise SettingsError(f"{where} names {folder}, which is not a folder; it must hold {ALLOCATION_FILE}.")
    return folder.resolve()
