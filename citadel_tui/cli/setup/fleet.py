"""`citadel fleet init|add|leave|doctor|node`: a fleet's Ray, set up and looked at by a program that takes this one's place.

Kept apart: the console lists these beside its own, and shares nothing else with them.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from citadel_tui.cli.parser import Arguments, CommandParser, SubCommands, add_command

_PYTHON_HELP: Final = "of the Citadel there; else at the path of this one's"


class _InitArguments(Arguments, frozen=True, kw_only=True):
    address: str
    name: str | None


class _BoxArguments(Arguments, frozen=True, kw_only=True):
    box: str | None = None
    ssh: str | None = None
    address: str | None = None
    python: str | None = None


def add_setup(actions: SubCommands) -> None:
    add_command(actions, "init", "begin a fleet's Ray, with this box as its head", _add_init, starts=False)
    add_command(actions, "add", "have a box join over ssh, which is reached through Ray then", _add_add, starts=False)
    add_command(
        actions, "leave", "have a box, or this one, leave; its engine and models stay", _add_leave, starts=False
    )
    add_command(
        actions, "doctor", "what is wrong with the boxes' Ray, and what closes it to others", _add_doctor, starts=False
    )
    add_command(actions, "node", "run this box's Ray in the foreground, as its unit does", _add_node, starts=False)


def _add_init(command: CommandParser) -> None:
    command.add_argument(
        "--address", required=True, metavar="IP", help="a private one, by which other boxes reach this one"
    )
    command.add_argument("--name", metavar="BOX", help="of this box; else its host's")
    command.carried_out_by(_init, _InitArguments)


def _add_add(command: CommandParser) -> None:
    command.add_argument("box", help="its name in the fleet")
    command.add_argument("ssh", nargs="?", metavar="HOST", help="what ssh calls it; else its name")
    command.add_argument(
        "--address", metavar="IP", help="a private one of its own; else that by which it speaks to this box"
    )
    command.add_argument("--python", metavar="PATH", help=_PYTHON_HELP)
    command.carried_out_by(_add, _BoxArguments)


def _add_leave(command: CommandParser) -> None:
    command.add_argument("box", nargs="?", help="else this one")
    command.add_argument("--python", metavar="PATH", help=_PYTHON_HELP)
    command.carried_out_by(_leave, _BoxArguments)


def _add_doctor(command: CommandParser) -> None:
    command.add_argument("--python", metavar="PATH", help=_PYTHON_HELP)
    command.carried_out_by(_doctor, _BoxArguments)


def _add_node(command: CommandParser) -> None:
    command.carried_out_by(_node, Arguments)


def _init(arguments: _InitArguments) -> int:
    return _become("fleet.operations", "init", _option("address", arguments.address), _option("name", arguments.name))


def _add(arguments: _BoxArguments) -> int:
    return _become("fleet.operations", "add", _option("address", arguments.address), *_of_box(arguments))


def _leave(arguments: _BoxArguments) -> int:
    return _become("fleet.operations", "leave", *_of_box(arguments))


def _doctor(arguments: _BoxArguments) -> int:
    return _become("fleet.operations", "doctor", *_of_box(arguments))


def _node(_: Arguments) -> int:
    return _become("fleet.ray_node")


def _of_box(arguments: _BoxArguments) -> tuple[str | None, ...]:
    named = ("--", arguments.box, arguments.ssh) if arguments.box else ()
    return (_option("python", arguments.python), *named)


def _option(name: str, given: str | None) -> str | None:
    return None if given is None else f"--{name}={given}"


def _become(module: str, *words: str | None) -> int:
    """What it says and how it ends is that program's."""
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: a folder named fleet in the working folder is not ours.
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *(word for word in words if word is not None)])
