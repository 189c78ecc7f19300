"""Adds a command to the parser."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Commands = _SubParsersAction[ArgumentParser]

CONFIG_HELP: Final = "folder of gpu_allocation.yaml, for an engine that must be started"


def add_command(commands: Commands, name: str, purpose: str) -> ArgumentParser:
    """A command that takes `--config` after its name as well as before."""
    command = commands.add_parser(name, help=purpose, description=purpose)
    command.add_argument("--config", type=Path, metavar="DIR", default=SUPPRESS, help=CONFIG_HELP)
    return command
