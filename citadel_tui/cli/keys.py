"""`citadel keys [list|add|rm]`: the keys that let applications in. Needs no engine; one that runs goes by the
file as it is now."""

from __future__ import annotations

import os
import time

from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import table, tell
from citadel_tui.cli.parser import Arguments, CommandParser, add_command
from citadel_tui.text import clean
from engine.gateway.keys import add_key, read_keys, remove_key
from engine.paths import find_paths, make_folders


class KeyArguments(Arguments, frozen=True, kw_only=True):
    name: str


def add_arguments(command: CommandParser) -> None:
    actions = command.add_subparsers(title="commands", metavar="COMMAND", dest="action")
    add_command(actions, "add", "make a key, and show it this once", _add_add)
    add_command(actions, "list", "the names of the keys, and since when there are", _add_list)
    add_command(actions, "rm", "let nobody in by that key any more", _add_rm)
    _add_list(command)  # without a further word


def _add_add(command: CommandParser) -> None:
    command.add_argument("name", metavar="NAME", help="whose it is, as logs and screens name it")
    command.carried_out_by(_add, KeyArguments)


def _add_list(command: CommandParser) -> None:
    command.carried_out_by(_list, Arguments)


def _add_rm(command: CommandParser) -> None:
    command.add_argument("name", metavar="NAME")
    command.carried_out_by(_remove, KeyArguments)


def _add(arguments: KeyArguments) -> int:
    paths = find_paths(os.environ)
    make_folders(paths)
    secret = add_key(paths.keys, arguments.name, time.time())
    tell(f"the key of {arguments.name}, which can't be shown again:")
    print(secret)
    return Exit.DONE


def _list(_arguments: Arguments) -> int:
    keys = read_keys(find_paths(os.environ).keys)
    if not keys:
        tell("there is no key; make one with: citadel keys add NAME")
        return Exit.DONE
    rows = [[clean(key.name), time.strftime("%Y-%m-%d %H:%M", time.localtime(key.made_at_s))] for key in keys]
    print(table(["NAME", "SINCE"], rows))
    return Exit.DONE


def _remove(arguments: KeyArguments) -> int:
    remove_key(find_paths(os.environ).keys, arguments.name)
    tell(f"the key of {arguments.name} lets nobody in any more")
    return Exit.DONE
