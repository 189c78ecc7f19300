"""The one place that knows where Citadel keeps things: sockets, logs, the journal, prepared models, the user's settings."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from engine.api import EngineError

SOCKET_PATH_LIMIT_BYTES: Final = 107
"""What fits the kernel's `sun_path` with its closing zero."""


class PathRefused(EngineError):
    """A folder that Citadel won't trust, or a path that the system can't take."""


@dataclass(frozen=True)
class Paths:
    """The three folders, and what is in them for an engine, or for a fleet's service beside it."""

    run: Path
    """The socket; only its owner may enter."""
    state: Path
    """What must outlive a restart: log, journal, what was recorded of demand and memory, benchmarks and screenshots."""
    cache: Path
    """What can be made again: prepared models."""
    service: Literal["engine", "fleet"] = "engine"
    """Whose socket, lock and log are meant."""

    @property
    def socket(self) -> Path:
        return self.run / f"{self.service}.sock"

    @property
    def log(self) -> Path:
        return self.state / f"{self.service}.log"

    @property
    def journal(self) -> Path:
        return self.state / "journal"

    @property
    def residency(self) -> Path:
        """Who is resident and pinned."""
        return self.state / "residency.json"

    @property
    def footprints(self) -> Path:
        return self.state / "footprints.json"

    @property
    def cards(self) -> Path:
        """Which card has which number."""
        return self.state / "cards.json"

    @property
    def keys(self) -> Path:
        """Those of applications, as hashes."""
        return self.state / "keys.json"

    @property
    def demand(self) -> Path:
        return self.state / "demand"

    @property
    def memory(self) -> Path:
        return self.state / "memory"

    @property
    def bench(self) -> Path:
        """Benchmarks that the console has saved."""
        return self.state / "bench"

    @property
    def screenshots(self) -> Path:
        return self.state / "screenshots"


def find_paths(environment: Mapping[str, str]) -> Paths:
    """Where things are for this user. Makes nothing. Raises PathRefused when the socket's path would be too long."""
    if home := environment.get("CITADEL_HOME"):
        root = Path(home).expanduser().absolute()
        paths = Paths(root / "run", root / "state", root / "cache")
    else:
        state = _xdg(environment, "XDG_STATE_HOME", ".local/state")
        # Not $XDG_RUNTIME_DIR: it is emptied when the last SSH session ends, and the engine must be found again.
        run = Path(f"/tmp/citadel-{os.getuid()}")
        paths = Paths(run, state, _xdg(environment, "XDG_CACHE_HOME", ".cache"))
    if len(os.fsencode(paths.socket)) > SOCKET_PATH_LIMIT_BYTES:
        raise PathRefused(
            f"The socket's path {paths.socket} is longer than the {SOCKET_PATH_LIMIT_BYTES} bytes that the system allows. "
            "Set CITADEL_HOME to a folder with a shorter path."
        )
    return paths


SOCKET_IN_SHELL: Final = (
    'sh -c \'if [ -n "$CITADEL_HOME" ]; then echo "$CITADEL_HOME/run/engine.sock";'
    ' else echo "/tmp/citadel-$(id -u)/engine.sock"; fi\''
)
"""`find_paths(...).socket` in the words of any shell: elsewhere `citadel` may lie where a login without a terminal finds none."""


def fleet_paths(paths: Paths) -> Paths:
    """Those of the fleet's service, which lives in the same folders as the user's engine."""
    return replace(paths, service="fleet")


def fleet_file(environment: Mapping[str, str]) -> Path:
    """Which boxes are the user's fleet."""
    return _own_folder(environment) / "fleet.yaml"


def config_home(environment: Mapping[str, str]) -> Path:
    """The user's own settings: the console's, and the engine's when no project brings some."""
    return _xdg(environment, "XDG_CONFIG_HOME", ".config")


def console_file(environment: Mapping[str, str]) -> Path:
    """What the console remembers, and its operator's keys."""
    return _own_folder(environment) / "console.yaml"


def _own_folder(environment: Mapping[str, str]) -> Path:
    home = environment.get("CITADEL_HOME")
    return Path(home).expanduser().absolute() if home else config_home(environment)


def make_folders(paths: Paths) -> None:
    """Create what is missing; the run folder must be ours alone. Raises PathRefused."""
    try:
        paths.run.parent.mkdir(parents=True, exist_ok=True)
        paths.run.mkdir(mode=0o700, exist_ok=True)
        for folder in (paths.state, paths.journal, paths.demand, paths.memory, paths.cache):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PathRefused(
            f"{error.filename} can't be made: {error.strerror}. Set CITADEL_HOME to a folder that you may write to."
        ) from None
    require_private(paths.run)


def require_private(folder: Path) -> None:
    """Refuse `folder` unless it is a real folder of this user that nobody else may enter. Raises PathRefused.

    Whoever can write to the folder of the socket could answer in the engine's place.
    """
    try:
        found = folder.lstat()
    except OSError as error:
        raise PathRefused(f"{folder} can't be looked at: {error.strerror}.") from None
    remedy = "Remove it, or set CITADEL_HOME to another folder."
    if not stat.S_ISDIR(found.st_mode):
        raise PathRefused(f"{folder} is not a folder, but a link or a file. {remedy}")
    if found.st_uid != os.getuid():
        raise PathRefused(f"{folder} belongs to user {found.st_uid}, not to you ({os.getuid()}). {remedy}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise PathRefused(f"{folder} is open to other users. Close it with: chmod 700 {folder}")


def _xdg(environment: Mapping[str, str], variable: str, otherwise: str) -> Path:
    """Citadel's folder in a base directory; the standard says to ignore relative ones."""
    base = Path(environment.get(variable, ""))
    if not base.is_absolute():
        base = Path(environment.get("HOME") or Path.home()) / otherwise
    return base / "citadel"
