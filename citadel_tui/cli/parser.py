"""The commands of `citadel`, and how what is typed becomes the typed arguments of one of them.

Each command's module declares its arguments (`add_arguments`) beside the function that carries them out. It is imported when
its command is asked for, and none of the others is: `citadel status` would wait for all of them.
"""

from __future__ import annotations

from argparse import SUPPRESS, Action, ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from msgspec import Struct

from engine.version import VERSION

COMMANDS: Final = {
    "init": "write a configuration of your own, to be changed",
    "serve": "run the engine in the foreground",
    "keys": "the keys that let applications in over HTTP",
    "service": "have systemd run the engine, or no longer",
    "fleet": "the console over several boxes, or any command that speaks to an engine: citadel fleet status",
    "stop": "end the engine in order; its models leave memory",
    "restart-worker": "end a device's worker and start another; its models come back",
    "doctor": "what stands between a model and a GPU here, and what to do about it",
    "gpus": "what each GPU of this machine can do",
    "completion": "the script with which a shell completes commands, models and devices",
    "help": "explain keys, colours, placement and more",
    "status": "devices, models and what they hold",
    "requests": "requests under way: who asks for what, where and since when; or cancel one",
    "log": "switches, refusals and notices, oldest first",
    "timeline": "who was on which device when, and what each change cost; needs no engine",
    "monitor": "record the devices' memory over time",
    "record": "keep what the engine shows in a file, until Ctrl+C",
    "replay-session": "watch a recorded session in the console",
    "why": "how a model came to be where it is, and what a load of it would do now",
    "load": "make a model ready",
    "evict": "take a model off every device, or off one",
    "pin": "never make a model a victim",
    "unpin": "let a model be a victim again",
    "cpu": "run a model on the CPU and pin it there",
    "move": "make a model ready on another device, then take it off its own",
    "plan": "what a command would do now; changes nothing",
    "rebalance": "put models where the present demand is served with the least reloading",
    "drain": "take everything off a device, to others as far as that pays",
    "pack": "free one device entirely",
    "undo": "take your last change back",
    "embed": "vectors of texts, and how alike they are",
    "generate": "a model's continuation of a prompt",
    "rerank": "documents by how well they answer a query",
    "classify": "what texts are, of the labels that a model knows",
    "selftest": "load, switch and fall back for real, then put everything back",
    "models": "the catalog, and models of your own in it",
    "pull": "fetch a model from the hub, then prepare it; needs no engine",
    "prepare": "write models' slabs before they are asked for; needs no engine",
    "bench": "how long switches, or requests, take here; puts back what it moves",
    "replay": "what each policy would have done with a recorded demand",
    "advise": "what would save switching and waiting here, tried on the engine's own demand",
    "drive": "play a trace against the live engine with real requests",
    "report": "write the results document, from what was recorded; needs no engine",
}
"""What each is for, in the order of `citadel --help`. `citadel x-y` lives in `cli/x_y.py`, but for the families."""

FAMILIES: Final = {
    **dict.fromkeys(("load", "evict", "pin", "unpin", "cpu", "move"), "act"),
    **dict.fromkeys(("rebalance", "drain", "pack", "undo"), "propose"),
    **dict.fromkeys(("stop", "restart-worker"), "serve"),
    "fleet": "console",
    "pull": "prepare",
    **{name: f"setup.{name}" for name in ("init", "completion", "service")},
    "timeline": "past.timeline",
    "record": "past.record",
    "replay-session": "past.replay_session",
}
"""Commands that share most of what they do, and the module that holds them together; those that set up the program itself, and
those that show what has been."""

SPEAK_TO_AN_ENGINE: Final = (
    *("status", "requests", "log", "timeline", "gpus", "monitor", "record", "why"),
    *("load", "evict", "pin", "unpin", "cpu", "move", "plan", "rebalance", "drain", "pack", "undo", "restart-worker"),
    *("embed", "generate", "rerank", "classify", "completion"),
)
"""Commands that do the same wherever their engine is: in a fleet, or on another machine."""

_CONFIG_HELP: Final = "folder of gpu_allocation.yaml, for an engine that must be started"
EXIT_STATUSES: Final = "0 done, 1 failed, 2 no engine or wrong usage, 3 refused, 4 not confirmed, 130 interrupted"
_EPILOG: Final = f"""\
A command may be cut short as long as only one begins so: citadel stat.
exit status: {EXIT_STATUSES}
"""


class Arguments(Struct, frozen=True, kw_only=True):
    """What every command may be told; most add fields of their own, named as the parser's destinations are."""

    config: Path | None = None
    """Folder of gpu_allocation.yaml, for an engine that must be started."""
    read_only: bool = False
    mouse: bool = True
    fleet: bool = False
    """Whether the engine that is meant is the fleet's."""
    host: str | None = None
    """The machine whose engine is meant, as ssh calls it; None for this one."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether another engine is meant than this user's own, here."""
        return self.fleet or self.host is not None

    @property
    def program(self) -> tuple[str, ...]:
        """What is typed before a command for the same engine."""
        if self.host is not None:
            return ("citadel", "--host", self.host)
        return ("citadel", "fleet") if self.fleet else ("citadel",)


_Arguments = TypeVar("_Arguments", bound=Arguments)


class Invocation(Struct, frozen=True):
    """A command as it was typed, ready to run."""

    arguments: Arguments
    run: Callable[[], int]
    """Gives the exit status. Raises EngineError."""


class CommandParser(ArgumentParser):
    """Reads what follows a command's name; listing the command does not need that yet."""

    name = ""
    declare: Callable[[CommandParser], None] | None = None
    """Adds its arguments."""
    is_repeated: bool = False
    """Whether it is listed elsewhere, too, and described there."""

    def carried_out_by(self, run: Callable[[_Arguments], int], arguments: type[_Arguments]) -> None:
        """Have `run` called with the arguments; a field whose option this command lacks keeps its default."""

        def read(given: Namespace) -> Invocation:
            fields = {name: value for name, value in vars(given).items() if name in arguments.__struct_fields__}
            typed = arguments(**fields)
            return Invocation(typed, partial(run, typed))

        self.set_defaults(read=read)

    # argparse calls this once it has read the command's name, for `citadel COMMAND --help` too.
    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:  # noqa: ANN401 - as in typeshed
        if self.declare is not None:
            self.declare(self)
        return super().parse_known_args(args, namespace)

    # argparse takes abbreviations of options, and none of commands: it looks the name up as it leaves this.
    def _get_values(self, action: Action, arg_strings: list[str]) -> Any:  # noqa: ANN401 - as in typeshed
        if isinstance(action, _SubParsersAction) and arg_strings:
            arg_strings = [self._command_meant(arg_strings[0], list(action.choices or ())), *arg_strings[1:]]
        return super()._get_values(action, arg_strings)

    def _command_meant(self, typed: str, names: Sequence[str]) -> str:
        """The one of `names` that `typed` is, or begins. Exits with 2 when there are several, or none."""
        meant = [name for name in names if name == typed] or [
            name for name in names if typed and name.startswith(typed)
        ]
        if len(meant) == 1:
            return meant[0]
        if meant:
            self.error(f"{typed!r} may be {', '.join(meant[:-1])} or {meant[-1]}; write more of it")
        from difflib import get_close_matches

        close = get_close_matches(typed, names, n=2)
        hint = f"did you mean {' or '.join(close)}?" if close else f"{self.prog} --help lists those there are"
        self.error(f"there is no command {typed!r}; {hint}")


SubCommands: TypeAlias = "_SubParsersAction[CommandParser]"


def add_command(
    commands: SubCommands,
    name: str,
    purpose: str,
    declare: Callable[[CommandParser], None],
    *,
    starts: bool = True,
) -> CommandParser:
    """List a command; `declare` adds its arguments when it is asked for. `starts`: it may have to do with an engine's start."""

    def declare_all(command: CommandParser) -> None:
        if starts and name != "help":  # which is the same whatever is configured
            command.add_argument("--config", type=Path, metavar="DIR", default=SUPPRESS, help=_CONFIG_HELP)
        declare(command)

    command = commands.add_parser(name, help=purpose, description=purpose)
    command.name = name
    command.declare = declare_all
    return command


def add_speaking(commands: SubCommands) -> None:
    """List the commands that speak to an engine, again, for one that they won't start."""
    for name in SPEAK_TO_AN_ENGINE:
        add_command(commands, name, COMMANDS[name], _declare, starts=False).is_repeated = True


def parse(argv: Sequence[str] | None) -> Invocation:
    """What `citadel ARGV` asks for; the console where no command is named. Exits with 2 when it makes no sense."""
    parser = _parser()
    given = parser.parse_args(argv)
    if given.command is None:
        parser.name = "console"
        _declare(parser)
    elif given.host is not None and given.command not in SPEAK_TO_AN_ENGINE:
        there = f"run it there: ssh {given.host} citadel {given.command}"
        parser.error(f"{given.command} does not go by --host, which is for what speaks to an engine alone; {there}")
    read: Callable[[Namespace], Invocation] = given.read if given.command else parser.get_default("read")
    return read(given)


def whole_parser() -> CommandParser:
    """With the arguments of all commands, which is what describes them all. It imports every command's module."""
    parser = _parser()
    _declare_all_of(parser)
    return parser


def commands_of(parser: ArgumentParser) -> dict[str, CommandParser]:
    """The commands of `parser`, by their names."""
    return next((commands for action in parser._actions if (commands := commands_of_action(action))), {})


def commands_of_action(action: Action) -> dict[str, CommandParser]:
    """What may follow, where `action` stands for a command; else nothing."""
    return action._name_parser_map if isinstance(action, _SubParsersAction) else {}


def _declare_all_of(parser: CommandParser) -> None:
    for command in commands_of(parser).values():
        if command.declare is not None:
            command.declare(command)
            command.declare = None
        _declare_all_of(command)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="citadel",
        description="See and steer which models are in memory. Without a command: the console.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="DIR", help=_CONFIG_HELP)
    parser.add_argument("--read-only", action="store_true", help="watch, and change nothing")
    parser.add_argument("--no-mouse", action="store_false", dest="mouse", help="leave the mouse to the terminal")
    parser.add_argument(
        "--host", metavar="HOST", help="for the engine of another machine, over ssh, instead of the one that is here"
    )
    parser.add_argument("--version", action="version", version=f"citadel {VERSION}", help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, purpose in COMMANDS.items():
        add_command(commands, name, purpose, _declare, starts=name != "fleet")
    return parser


def module_of(name: str) -> str:
    """The module that holds a command."""
    return f"citadel_tui.cli.{FAMILIES.get(name, name.replace('-', '_'))}"


def _declare(command: CommandParser) -> None:
    """Have the command's module do it."""
    import_module(module_of(command.name)).add_arguments(command)
