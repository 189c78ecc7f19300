"""The unit that has systemd run the engine: for one user's manager, or for the machine's.

What is closed to the engine is closed by the kernel. A user's manager can do so only within a user namespace (`PrivateUsers=`),
and not every system lets users have one: there the unit must go without what needs it, or it would not start at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

MARK: Final = "# Written by `citadel service install`"
UNIT: Final = "citadel.service"
Manager = Literal["user", "system"]
TARGETS: Final[Mapping[Manager, str]] = {"user": "default.target", "system": "multi-user.target"}
"""What brings the engine up at the start."""

_PLAIN: Final = re.compile(r"[\w./:=+@-]+", re.ASCII)
_WATCHDOG_S: Final = 120
_LAST_RUNS_S: Final = 90


class UnitFacts(Struct, frozen=True):
    """What a unit depends on."""

    manager: Manager
    command: Sequence[str]
    writable: Sequence[Path]
    """Folders that exist, in which the engine keeps what it writes."""
    cache: Path
    user: str = ""
    """Whose the engine is; for the machine's manager."""
    environment: Mapping[str, str] = {}
    namespaces: bool = True
    """Whether the manager may make namespaces."""


def unit_text(facts: UnitFacts) -> str:
    """The file. `systemd-analyze security` has its score."""
    sections = [
        (f"{MARK}, which replaces it; lines of your own belong into `systemctl edit citadel`.", ""),
        ("[Unit]", "\n".join(_about(facts))),
        ("[Service]", "\n".join([*_service(facts), *_closed_to_it(facts)])),
        ("[Install]", f"WantedBy={TARGETS[facts.manager]}"),
    ]
    return "\n".join(f"{head}\n{body}" if not body else f"{head}\n{body}\n" for head, body in sections)


def _about(facts: UnitFacts) -> Iterator[str]:
    yield "Description=Citadel, the engine that keeps models on small GPUs"
    yield "Documentation=man:citadel(1)"
    yield "# A mistake in the configuration is no better at the sixth try."
    yield from ("StartLimitIntervalSec=60", "StartLimitBurst=5")
    if facts.manager == "system":
        yield "After=network.target nvidia-persistenced.service"


def _service(facts: UnitFacts) -> Iterator[str]:
    yield "Type=notify"
    yield "NotifyAccess=main"
    yield f"ExecStart={' '.join(_quoted(word) for word in facts.command)}"
    yield "ExecReload=kill -HUP $MAINPID"  # takes the catalog up as it is now
    if facts.user:
        yield f"User={facts.user}"
        yield "WorkingDirectory=~"
    for name, value in {"CUDA_CACHE_PATH": str(facts.cache / "cuda"), **facts.environment}.items():
        yield f"Environment={_quoted(f'{name}={value}', of_command=False)}"
    yield "Restart=on-failure"
    yield "RestartSec=2"
    yield "# The engine ends its workers itself, after what they run; only what is left then is killed."
    yield "KillMode=mixed"
    yield f"TimeoutStopSec={_LAST_RUNS_S}"
    yield f"WatchdogSec={_WATCHDOG_S}"
    yield "SyslogIdentifier=citadel"
    if facts.manager == "system":
        yield "# Pages of the RAM tier are locked, for copies to cards at full speed."
        yield "LimitMEMLOCK=infinity"


def _closed_to_it(facts: UnitFacts) -> Iterator[str]:
    yield from ("", "UMask=0077", "NoNewPrivileges=yes", "LockPersonality=yes", "RestrictRealtime=yes")
    yield from ("RestrictSUIDSGID=yes", "RestrictNamespaces=yes", "KeyringMode=private")
    yield "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
    yield "SystemCallArchitectures=native"
    yield "SystemCallFilter=@system-service"
    yield "SystemCallFilter=~@privileged"
    yield "SystemCallErrorNumber=EPERM"
    yield "# Not MemoryDenyWriteExecute=: torch and CUDA compile code as they run."
    if not facts.namespaces:
        return
    if facts.manager == "user":
        yield "PrivateUsers=yes"
    yield "CapabilityBoundingSet="
    yield from ("ProtectSystem=strict", "ProtectHome=read-only")
    yield "# Not PrivateTmp=: the engine's socket is there, for the console."
    yield f"ReadWritePaths={' '.join(_quoted(str(path), of_command=False) for path in facts.writable)}"
    for what in ("KernelTunables", "KernelModules", "KernelLogs", "ControlGroups", "Clock", "Hostname"):
        yield f"Protect{what}=yes"
    if facts.manager == "system":
        yield "# The cards, as far as their driver is loaded when the unit starts."
        yield from ("DevicePolicy=closed", "DeviceAllow=char-nvidia* rw")


def _quoted(word: str, *, of_command: bool = True) -> str:
    """As systemd.syntax(7) reads it back: % is for specifiers everywhere, $ for variables in a command."""
    if _PLAIN.fullmatch(word):
        return word
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return f'"{text.replace("$", "$$") if of_command else text}"'
