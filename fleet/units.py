"""Units for the user's own systemd: Ray on each box, and the fleet's service on its head. Where there is no such manager, the
same programs run in the foreground of whatever there is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from engine.core.texts import in_brief
from engine.paths import config_home
from engine.whole_file import write_whole

MARK: Final = "# Written by `citadel fleet`"
RAY_UNIT: Final = "citadel-ray.service"
SERVICE_UNIT: Final = "citadel-fleet.service"

_ABOUT: Final = {
    RAY_UNIT: ("Citadel's fleet: Ray on this box", "fleet.ray_node"),
    # Ray ends a driver that has not heard of its head for a minute; the next one shows the same fleet.
    SERVICE_UNIT: ("Citadel's fleet: the service that consoles and applications speak to", "fleet.service"),
}
_HANDED_ON: Final = ("CITADEL_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
_LAST_RUNS_S: Final = 90


def unit_text(unit: str, environment: Mapping[str, str]) -> str:
    description, program = _ABOUT[unit]
    given = (f"Environment={_quoted(f'{name}={environment[name]}')}" for name in _HANDED_ON if environment.get(name))
    return "\n".join(
        (
            f"{MARK}, which replaces it; lines of your own belong into `systemctl --user edit {unit}`.",
            *(
                "[Unit]",
                f"Description={description}",
                "# It comes back however often it ends.",
                "StartLimitIntervalSec=0",
            ),
            *("", "[Service]", "Type=notify", f"ExecStart={_quoted(sys.executable)} -P -m {program}", *given),
            *("Restart=always", "RestartSec=2", f"TimeoutStopSec={_LAST_RUNS_S}", "UMask=0077", "NoNewPrivileges=yes"),
            *("", "[Install]", "WantedBy=default.target", ""),
        )
    )


def install(unit: str, environment: Mapping[str, str] = os.environ) -> str:
    """Write the unit and have it started; what was done, and what is left to do, in words. Raises OSError."""
    path = unit_path(unit, environment)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, unit_text(unit, environment).encode(), 0o644)
    if why := _systemctl("daemon-reload") or _systemctl("enable", "--now", unit):
        program = f"{sys.executable} -P -m {_ABOUT[unit][1]}"
        return f"{path} is written, but not started ({why}); without systemd run `{program}` under a supervisor of your own"
    return f"{path} is written and started; `loginctl enable-linger` has it up without a login"


def remove(unit: str, environment: Mapping[str, str] = os.environ) -> str:
    """Stop the unit and remove it, in words; nothing where there is none. Raises OSError."""
    path = unit_path(unit, environment)
    if not path.exists():
        return ""
    why = _systemctl("disable", "--now", unit)
    path.unlink()
    return f"{path} is removed" + (f", but was not stopped ({why})" if why else "")


def state(unit: str) -> str:
    """As systemd has it: active, failed, inactive; why it does not say, where it does not."""
    return _ran("is-active", unit)[1]


def unit_path(unit: str, environment: Mapping[str, str] = os.environ) -> Path:
    return config_home(environment).parent / "systemd" / "user" / unit


def _quoted(word: str) -> str:
    """As systemd.syntax(7) reads it back."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _systemctl(*words: str) -> str:
    """Why it did not; empty where it did."""
    status, said = _ran(*words)
    return said if status else ""


def _ran(*words: str) -> tuple[int, str]:
    command: Sequence[str] = ("systemctl", "--user", *words)
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        return 1, f"systemctl: {error.strerror}"
    return ran.returncode, in_brief((ran.stdout.strip() or ran.stderr.strip()), 200)
