"""The arguments of `citadel`: which commands there are, and which module runs each."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from citadel_tui.cli.arguments.acting import acting_commands
from citadel_tui.cli.arguments.adding import CONFIG_HELP
from citadel_tui.cli.arguments.looking import looking_commands
from citadel_tui.cli.arguments.machine import machine_commands
from citadel_tui.cli.arguments.measuring import measuring_commands
from citadel_tui.cli.arguments.using import using_commands
from engine.version import VERSION

_EPILOG: Final = """\
exit status: 0 done, 1 failed, 2 no engine or wrong usage, 3 refused, 4 not confirmed, 130 interrupted
"""


def parse(argv: Sequence[str] | None) -> Namespace:
    """The arguments, with `module` naming who runs them. Exits with 2 when they make no sense."""
    return _parser().parse_args(argv)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="citadel",
        description="See and steer which models are in memory. Without a command: the console.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="DIR", help=CONFIG_HELP)
    parser.add_argument("--read-only", action="store_true", help="watch, and change nothing")
    parser.add_argument("--no-mouse", action="store_false", dest="mouse", help="leave the mouse to the terminal")
    parser.add_argument("--version", action="version", version=f"citadel {VERSION}", help="show the version and exit")
    parser.set_defaults(module="console")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for add in (machine_commands, looking_commands, acting_commands, using_commands, measuring_commands):
        add(commands)
    return parser
