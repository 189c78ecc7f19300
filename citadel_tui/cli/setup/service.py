"""`citadel service install|uninstall`: a unit for systemd, written and removed.

Systemd itself is left to the operator, who is told what to run.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import tell
from citadel_tui.cli.parser import Arguments, CommandParser, add_command
from citadel_tui.cli.setup.service_unit import MARK, TARGETS, UNIT, Manager, UnitFacts, unit_text
from engine.defaults import is_of_the_program
from engine.paths import Paths, config_home, find_paths
from engine.whole_file import write_whole

_HANDED_ON: Final = ("CITADEL_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE")
"""Variables that say where things are; settings belong to .env beside the configuration."""
_PROBE: Final = ("unshare", "--user", "--map-root-user", "--mount", "true")


class ServiceArguments(Arguments, frozen=True, kw_only=True):
    manager: Manager
    http: str | None = None
    run_as: str | None = None
    show: bool = False


def add_arguments(command: CommandParser) -> None:
    actions = command.add_subparsers(title="commands", metavar="COMMAND", dest="action", required=True)
    add_command(actions, "install", "write the unit, and say what to run next", _add_install)
    add_command(actions, "uninstall", "remove the unit, and say what to run next", _add_uninstall)


def _add_install(command: CommandParser) -> None:
    _add_managers(command)
    command.add_argument("--http", metavar="HOST:PORT", help="serve applications there, as http.listen says otherwise")
    command.add_argument("--run-as", metavar="USER", help="with --system: whose engine it is; else who called sudo")
    command.add_argument("--print", action="store_true", dest="show", help="the unit, and nothing is written")
    command.carried_out_by(_install, ServiceArguments)


def _add_uninstall(command: CommandParser) -> None:
    _add_managers(command)
    command.carried_out_by(_uninstall, ServiceArguments)


def _add_managers(command: CommandParser) -> None:
    manager = command.add_mutually_exclusive_group(required=True)
    manager.add_argument("--user", action="store_const", dest="manager", const="user", help="of your own systemd")
    manager.add_argument("--system", action="store_const", dest="manager", const="system", help="of the machine's")


def _install(arguments: ServiceArguments) -> int:
    if why_not := _why_not(arguments):
        tell(why_not)
        return Exit.REFUSED
    account = _account(arguments)
    if account is None:
        return Exit.REFUSED
    environment = dict(os.environ) if arguments.manager == "user" else {"HOME": account.pw_dir}
    paths = find_paths(environment)
    facts = _facts(arguments, account, environment, paths)
    if arguments.show:
        print(unit_text(facts), end="")
        return Exit.DONE
    path = _unit_path(arguments.manager)

    def write() -> None:
        for folder in facts.writable:
            _make_for(account, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, unit_text(facts).encode(), 0o644)

    return _carried_out(path, write, partial(_after_installing, arguments.manager, account.pw_name, facts))


def _uninstall(arguments: ServiceArguments) -> int:
    path = _unit_path(arguments.manager)
    if not path.exists():
        tell(f"there is no {path}; nothing is to be removed")
        return Exit.DONE
    wanted = path.parent / f"{TARGETS[arguments.manager]}.wants" / UNIT

    def remove() -> None:
        wanted.unlink(missing_ok=True)
        path.unlink()

    systemctl = _systemctl(arguments.manager)
    next_step = f"now run: {systemctl} stop citadel; {systemctl} daemon-reload"
    return _carried_out(path, remove, lambda: [f"{path} is removed", next_step])


def _carried_out(path: Path, change: Callable[[], None], words: Callable[[], list[str]]) -> int:
    """Change the unit at `path`, unless somebody else wrote it; then say `words`."""
    try:
        if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
            tell(f"{path} was not written by this command, and is left as it is; move it away first")
            return Exit.REFUSED
        change()
    except OSError as error:
        hint = "; it takes root: sudo" if isinstance(error, PermissionError) else ""
        tell(f"{error.filename or path} can't be changed: {error.strerror}{hint}")
        return Exit.FAILED
    for line in words():
        tell(line)
    return Exit.DONE


def _why_not(arguments: ServiceArguments) -> str:
    """What is asked for that can't be meant."""
    if arguments.run_as is not None and arguments.manager == "user":
        return "--run-as goes with --system; a unit of --user runs as you"
    return ""


def _account(arguments: ServiceArguments) -> pwd.struct_passwd | None:
    """Whose engine it is; says so where that is not known."""
    if arguments.manager == "user":
        return pwd.getpwuid(os.getuid())
    name = arguments.run_as or os.environ.get("SUDO_USER")
    if not name and os.getuid() == 0:
        tell("whose engine shall it be? Name the account with --run-as USER: its console attaches, no other does")
        return None
    try:
        return pwd.getpwnam(name) if name else pwd.getpwuid(os.getuid())
    except KeyError:
        tell(f"there is no account {name}; name another with --run-as USER")
        return None


def _facts(
    arguments: ServiceArguments, account: pwd.struct_passwd, environment: dict[str, str], paths: Paths
) -> UnitFacts:
    """Of the unit. Raises SettingsError for a configuration that no engine would start with."""
    of_caller = arguments.manager == "user" or account.pw_uid == os.getuid()
    folder = _sound_config(arguments, dict(os.environ) if of_caller else environment, Path(account.pw_dir))
    # Not named where nobody wrote one: what `citadel init` writes later is found then.
    config = () if is_of_the_program(str(folder)) else ("--config", str(folder.absolute()))
    http = ("--http", arguments.http) if arguments.http else ()
    return UnitFacts(
        arguments.manager,
        (sys.executable, "-P", "-m", "citadel_tui", "serve", *config, *http),
        _writable(paths),
        paths.cache,
        user=account.pw_name if arguments.manager == "system" else "",
        environment={name: environment[name] for name in _HANDED_ON if environment.get(name)},
        namespaces=arguments.manager == "system" or _namespaces_are_allowed(),
    )


def _sound_config(arguments: ServiceArguments, environment: dict[str, str], home: Path) -> Path:
    """The folder of the configuration, which is read, as it would be at the start. Raises SettingsError."""
    from engine.settings import find_config_folder, find_dotenv, load_settings

    folder = find_config_folder(arguments.config, environment, Path.cwd())
    dotenv = find_dotenv(folder, Path.cwd())
    if dotenv is not None and dotenv.parent not in (folder.parent, home):
        tell(f"{dotenv} is not read by a service, which starts elsewhere; its place is {folder.parent / '.env'}")
    listen = {"CITADEL_LISTEN": arguments.http} if arguments.http else {}
    # Cards may come and go; what is wrong with the rest is said now.
    load_settings(folder, {**environment, **listen, "CUDA_ENABLED": "false"}, dotenv)
    return folder


def _writable(paths: Paths) -> tuple[Path, ...]:
    """The folders above the engine's own, since these may be deleted while it does not run."""
    return tuple(dict.fromkeys(folder.parent for folder in (paths.run, paths.state, paths.cache)))


def _namespaces_are_allowed() -> bool:
    """Whether processes of this user may make namespaces of their own; tried, since each distribution forbids it in its way."""
    try:
        return subprocess.run(_PROBE, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _unit_path(manager: Manager) -> Path:
    return (
        Path("/etc/systemd/system" if manager == "system" else config_home(os.environ).parent / "systemd/user") / UNIT
    )


def _make_for(account: pwd.struct_passwd, folder: Path) -> None:
    """A folder of `account`, where there is none."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700)
        if os.getuid() == 0:
            os.chown(each, account.pw_uid, account.pw_gid)


def _systemctl(manager: Manager) -> str:
    return "systemctl --user" if manager == "user" else "systemctl"


def _after_installing(manager: Manager, user: str, facts: UnitFacts) -> list[str]:
    systemctl = _systemctl(manager)
    lines = [f"{_unit_path(manager)} is written; an engine that runs must be stopped first: citadel stop"]
    if not facts.namespaces:
        lines.append(
            "users have no namespaces here, so the unit can't close the file system to the engine; one of --system can"
        )
    lines.append(f"now run: {systemctl} daemon-reload && {systemctl} enable --now citadel")
    if manager == "user":
        lines.append(f"to have it up without a login: loginctl enable-linger {user}")
    else:
        lines.append(f"the console attaches as {user}, and its log is in: journalctl -u citadel")
    return lines
