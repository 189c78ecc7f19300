"""Commands that look, and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from citadel_tui.cli.arguments.adding import add_command
from citadel_tui.cli.values import count, seconds

if TYPE_CHECKING:
    from citadel_tui.cli.arguments.adding import Commands


def looking_commands(commands: Commands) -> None:
    """Add them."""
    _engine_commands(commands)
    _session_commands(commands)
    _why_command(commands)


def _engine_commands(commands: Commands) -> None:
    status = add_command(commands, "status", "devices, models and what they hold")
    status.set_defaults(module="status")
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", dest="form", const="json", help="all of it, in bytes")
    form.add_argument("--csv", nargs="?", dest="csv", const="devices", choices=("devices", "models"), help="one table")
    form.add_argument("--plain", action="store_const", dest="form", const="plain", help="ASCII, no bars")
    status.add_argument("--watch", nargs="?", type=seconds, const=2.0, metavar="S", help="again every S seconds")
    log = add_command(commands, "log", "switches, refusals and notices, oldest first")
    log.set_defaults(module="log")
    log.add_argument("-n", type=count, default=20, dest="limit", metavar="N", help="how many (20)")
    log.add_argument("--follow", "-f", action="store_true", help="go on with what comes")
    log.add_argument("--json", action="store_true", help="one JSON record a line")
    monitor = add_command(commands, "monitor", "record the devices' memory over time")
    monitor.set_defaults(module="monitor")
    monitor.add_argument("--duration", type=seconds, default=60.0, metavar="S", help="seconds to record (60)")
    monitor.add_argument("--interval", type=seconds, default=1.0, metavar="S", help="seconds between samples (1)")
    monitor.add_argument("--format", choices=("csv", "jsonl"), default="csv")
    monitor.add_argument("--output", type=Path, metavar="FILE", help="instead of the standard output")


def _session_commands(commands: Commands) -> None:
    record = add_command(commands, "record", "keep what the engine shows in a file, until Ctrl+C")
    record.set_defaults(module="record")
    record.add_argument("file", type=Path, metavar="FILE")
    record.add_argument("--interval", type=seconds, default=1.0, metavar="S", help="seconds between snapshots (1)")
    played = add_command(commands, "replay-session", "watch a recorded session in the console")
    played.set_defaults(module="replay_session")
    played.add_argument("file", type=Path, metavar="FILE")
    played.add_argument("--speed", type=seconds, default=1.0, metavar="X", help="times as fast as it was (1)")


def _why_command(commands: Commands) -> None:
    why = add_command(commands, "why", "how a model came to be where it is, and what a load of it would do now")
    why.set_defaults(module="why")
    why.add_argument("model")
    why.add_argument("--json", action="store_true", help="the records and figures as JSON")
