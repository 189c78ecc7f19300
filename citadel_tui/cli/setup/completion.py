"""`citadel completion bash|zsh|fish`: the script with which a shell completes commands, options, models and devices.

It is made from the commands' own parser, by shtab. For names it calls `citadel completion models|devices`.
"""

from __future__ import annotations

import asyncio
from argparse import Action, ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from citadel_tui.cli.catalog import models_of_catalog
from citadel_tui.cli.engine import attached
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.parser import Arguments, CommandParser, commands_of, whole_parser
from engine.api import EngineError, EngineUnreachable
from engine.core.names import CPU

_What = Literal["bash", "zsh", "fish", "models", "devices"]
_WHAT: Final = ("bash", "zsh", "fish", "models", "devices")
_MODEL_WORDS: Final = {"model", "models", "MODEL"}
_DEVICE_WORDS: Final = {"device", "DEVICE"}


class CompletionArguments(Arguments, frozen=True, kw_only=True):
    what: _What


def add_arguments(command: CommandParser) -> None:
    words = "the shell that the script is for; or the names that it asks for: models, devices"
    command.add_argument("what", choices=_WHAT, metavar="SHELL", help=f"{words} ({', '.join(_WHAT)})")
    command.epilog = 'in ~/.bashrc: eval "$(citadel completion bash)"'
    command.carried_out_by(run, CompletionArguments)


def run(arguments: CompletionArguments) -> int:
    match arguments.what:
        case "models" | "devices":
            print("\n".join(asyncio.run(_names(arguments))))
        case shell:
            print(_script(shell))
    return Exit.DONE


def _script(shell: str) -> str:
    # Nobody who asks for the status is to wait for this import.
    import shtab

    parser = whole_parser()
    for program, action in _actions(parser):
        match _meant_by(action):
            case "models" | "devices" as names:
                action.complete = shtab.cmd(f"{program} completion {names} 2>/dev/null")  # type: ignore[attr-defined]
            case "file":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            case "folder":
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)


def _actions(parser: ArgumentParser, program: str = "citadel") -> Iterator[tuple[str, Action]]:
    """Those of all commands, each with what is typed to ask the engine that its command speaks to."""
    yield from ((program, action) for action in parser._actions)
    for name, command in commands_of(parser).items():
        yield from _actions(command, "citadel fleet" if name == "fleet" else program)


def _meant_by(action: Action) -> Literal["models", "devices", "file", "folder"] | None:
    """What is to be typed for an argument or an option, if it can be listed."""
    shown = action.metavar or action.dest
    if shown in _MODEL_WORDS and action.choices is None and action.nargs != 0:
        return "models"
    if shown in _DEVICE_WORDS:
        return "devices"
    if action.type is Path:
        return "folder" if shown == "DIR" else "file"
    return None


async def _names(arguments: CompletionArguments) -> list[str]:
    """As the engine has them that runs, else as the configuration does; none where even that is wrong."""
    try:
        async with attached(arguments) as engine:
            state = (await engine.snapshot()).state
            return list(state.models if arguments.what == "models" else state.devices)
    except EngineUnreachable:
        if arguments.what == "devices" and not arguments.is_elsewhere:
            return [CPU]
    except EngineError:
        return []
    if arguments.is_elsewhere:
        return []
    try:
        return [model.name for model in models_of_catalog(arguments.config)]
    except EngineError:
        return []
