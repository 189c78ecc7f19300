"""Commands for the engine's process, the machine and help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from citadel_tui.cli.arguments.adding import add_command

if TYPE_CHECKING:
    from citadel_tui.cli.arguments.adding import Commands


def machine_commands(commands: Commands) -> None:
    """Add them."""
    _process_commands(commands)
    _machine_commands(commands)
    _help_command(commands)


def _process_commands(commands: Commands) -> None:
    serve = add_command(commands, "serve", "run the engine in the foreground")
    serve.set_defaults(module="process")
    stop = add_command(commands, "stop", "end the engine in order; its models leave memory")
    stop.set_defaults(module="process")


def _machine_commands(commands: Commands) -> None:
    doctor = add_command(commands, "doctor", "what stands between a model and a GPU here, and what to do about it")
    doctor.set_defaults(module="doctor")
    doctor.add_argument("--json", action="store_true", help="all findings as JSON")
    gpus = add_command(commands, "gpus", "what each GPU of this machine can do")
    gpus.set_defaults(module="gpus")
    gpus.add_argument("--json", action="store_true", help="all of it, in bytes")
    gpus.add_argument("--measure", action="store_true", help="time copies to and from each card, and keep the figures")


def _help_command(commands: Commands) -> None:
    shown = commands.add_parser("help", help="explain keys, colours, placement and more")
    shown.set_defaults(module="help")
    topics = ("keys", "colours", "placement", "bench", "troubles", "files")
    shown.add_argument("topic", nargs="?", choices=topics, metavar="TOPIC", help=", ".join(topics))
