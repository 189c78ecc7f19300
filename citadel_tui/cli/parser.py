"""The arguments of `citadel`: which commands there are, and which module runs each."""

from __future__ import annotations

import math
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.core.names import is_device_id
from engine.replay.sizes import parse_bytes
from engine.version import VERSION

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Commands = _SubParsersAction[ArgumentParser]

_EPILOG: Final = """\
exit status: 0 done, 1 failed, 2 no engine or wrong usage, 3 refused, 4 not confirmed, 130 interrupted
"""
_CONFIG_HELP: Final = "folder of gpu_allocation.yaml, for an engine that must be started"


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
    parser.add_argument("--config", type=Path, metavar="DIR", help=_CONFIG_HELP)
    parser.add_argument("--read-only", action="store_true", help="watch, and change nothing")
    parser.add_argument("--version", action="version", version=f"citadel {VERSION}", help="show the version and exit")
    parser.set_defaults(module="console")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for add in (
        _engine_commands,
        _looking_commands,
        _verb_commands,
        _plan_command,
        _using_commands,
        _models_command,
        _machine_commands,
        _bench_command,
        _replay_command,
    ):
        add(commands)
    return parser


def _add(commands: Commands, name: str, purpose: str) -> ArgumentParser:
    """A command that takes `--config` after its name as well as before."""
    command = commands.add_parser(name, help=purpose, description=purpose)
    command.add_argument("--config", type=Path, metavar="DIR", default=SUPPRESS, help=_CONFIG_HELP)
    return command


def _engine_commands(commands: Commands) -> None:
    serve = _add(commands, "serve", "run the engine in the foreground")
    serve.set_defaults(module="process")
    stop = _add(commands, "stop", "end the engine in order; its models leave memory")
    stop.set_defaults(module="process")


def _looking_commands(commands: Commands) -> None:
    status = _add(commands, "status", "devices, models and what they hold")
    status.set_defaults(module="status")
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", dest="form", const="json", help="all of it, in bytes")
    form.add_argument("--csv", nargs="?", dest="csv", const="devices", choices=("devices", "models"), help="one table")
    form.add_argument("--plain", action="store_const", dest="form", const="plain", help="ASCII, no bars")
    status.add_argument("--watch", nargs="?", type=_seconds, const=2.0, metavar="S", help="again every S seconds")
    log = _add(commands, "log", "switches, refusals and notices, oldest first")
    log.set_defaults(module="log")
    log.add_argument("-n", type=_count, default=20, dest="limit", metavar="N", help="how many (20)")
    log.add_argument("--follow", "-f", action="store_true", help="go on with what comes")
    log.add_argument("--json", action="store_true", help="one JSON record a line")
    monitor = _add(commands, "monitor", "record the devices' memory over time")
    monitor.set_defaults(module="monitor")
    monitor.add_argument("--duration", type=_seconds, default=60.0, metavar="S", help="seconds to record (60)")
    monitor.add_argument("--interval", type=_seconds, default=1.0, metavar="S", help="seconds between samples (1)")
    monitor.add_argument("--format", choices=("csv", "jsonl"), default="csv")
    monitor.add_argument("--output", type=Path, metavar="FILE", help="instead of the standard output")


def _verbs(commands: Commands) -> list[ArgumentParser]:
    """The commands that change who is resident, in the form that running and planning them share."""
    load = _add(commands, "load", "make a model ready")
    load.add_argument("model")
    load.add_argument("--on", type=_device, metavar="DEVICE", help="gpu0, gpu1, …, cpu; the best one when left out")
    evict = _add(commands, "evict", "take a model off every device")
    evict.add_argument("model")
    pin = _add(commands, "pin", "never make a model a victim")
    pin.add_argument("model")
    pin.add_argument("--on", type=_device, metavar="DEVICE", help="and keep it there")
    unpin = _add(commands, "unpin", "let a model be a victim again")
    unpin.add_argument("model")
    cpu = _add(commands, "cpu", "run a model on the CPU and pin it there")
    cpu.add_argument("model")
    cpu.add_argument("--back", action="store_true", help="undo it: unpin the model and load it on the best GPU")
    move = _add(commands, "move", "make a model ready on another device, then take it off its own")
    move.add_argument("model")
    move.add_argument("device", type=_device)
    return [load, evict, pin, unpin, cpu, move]


def _verb_commands(commands: Commands) -> None:
    for verb in _verbs(commands):
        verb.add_argument("--yes", "-y", action="store_true", help="don't ask, whatever else the plan touches")
        verb.set_defaults(module="act")


def _plan_command(commands: Commands) -> None:
    plan = _add(commands, "plan", "what a command would do now; changes nothing")
    verbs = plan.add_subparsers(title="commands", metavar="COMMAND", dest="verb", required=True)
    for verb in _verbs(verbs):
        verb.add_argument("--json", action="store_true", help="the plan or refusal as JSON")
        verb.set_defaults(module="preview")


def _using_commands(commands: Commands) -> None:
    embed = _add(commands, "embed", "vectors of texts, and how alike they are")
    embed.set_defaults(module="embed")
    embed.add_argument("model")
    embed.add_argument("texts", nargs="+", metavar="TEXT")
    embed.add_argument("--json", action="store_true", help="the whole vectors")
    generate = _add(commands, "generate", "a model's continuation of a prompt")
    generate.set_defaults(module="generate")
    generate.add_argument("model")
    generate.add_argument("prompt")
    generate.add_argument("--max-tokens", type=_count, default=32, metavar="N")
    selftest = _add(commands, "selftest", "load, switch and fall back for real, then put everything back")
    selftest.set_defaults(module="selftest")


def _models_command(commands: Commands) -> None:
    models = _add(commands, "models", "the catalog")
    actions = models.add_subparsers(title="commands", metavar="COMMAND", dest="action", required=True)
    shown = _add(actions, "list", "what the engine knows of each model")
    shown.set_defaults(module="models")
    made = _add(actions, "make", "make synthetic models: real shapes, random weights")
    made.set_defaults(module="making")
    made.add_argument("kinds", nargs="*", metavar="KIND", help="those of the catalog when left out")


def _machine_commands(commands: Commands) -> None:
    doctor = _add(commands, "doctor", "what stands between a model and a GPU here, and what to do about it")
    doctor.set_defaults(module="doctor")
    doctor.add_argument("--json", action="store_true", help="all findings as JSON")
    gpus = _add(commands, "gpus", "what each GPU of this machine can do")
    gpus.set_defaults(module="gpus")
    gpus.add_argument("--json", action="store_true", help="all of it, in bytes")
    gpus.add_argument("--measure", action="store_true", help="time copies to and from each card, and keep the figures")


def _bench_command(commands: Commands) -> None:
    bench = _add(commands, "bench", "how long switches take here; puts back what it moves")
    bench.usage = (
        "citadel bench [MODEL …] [--on DEVICE …] [--from {ram,disk}] [-n N] [--warm-up N] [--yes]\n"
        "                     [--output FILE.json] [--csv FILE]\n"
        "       citadel bench compare BEFORE.json AFTER.json [--threshold PERCENT]"
    )
    bench.set_defaults(module="bench")
    bench.add_argument("models", nargs="*", metavar="MODEL", help="all of the catalog when left out")
    bench.add_argument("--on", type=_device, nargs="+", metavar="DEVICE", help="every GPU when left out")
    bench.add_argument(
        "--from",
        dest="tier",
        choices=("ram", "disk"),
        default="ram",
        help="where loads start (ram); disk may be cached",
    )
    bench.add_argument("-n", type=_count, default=7, dest="repeats", metavar="N", help="switches that count (7)")
    bench.add_argument("--warm-up", type=_count_or_none, default=1, metavar="N", help="switches before them (1)")
    bench.add_argument("--yes", "-y", action="store_true", help="don't ask, whoever is taken off a device meanwhile")
    bench.add_argument("--output", type=Path, metavar="FILE.json", help="keep every repeat, with the machine's facts")
    bench.add_argument("--csv", type=Path, metavar="FILE", help="a row a repeat")
    bench.add_argument(
        "--threshold", type=_percent, default=0.1, metavar="PERCENT", help="compare: slower by more fails (10%%)"
    )


def _replay_command(commands: Commands) -> None:
    replay = _add(commands, "replay", "what each policy would have done with a recorded demand")
    replay.set_defaults(module="replay")
    replay.add_argument("trace", type=Path, metavar="TRACE", help="lines of t_s,model,work under that heading")
    replay.add_argument("--policy", choices=("all", "expected_loss", "lru", "lfu"), default="all")
    replay.add_argument("--gpus", type=_gpus, metavar="NxSIZE", help="their budgets (2x4.8GB)")
    replay.add_argument("--ram", type=_size, metavar="SIZE", help="the RAM tier's budget (11.26GB)")
    replay.add_argument("--sizes", default="cycle", metavar="cycle|FILE", help="lines of model,size; or in turn")
    replay.add_argument("--json", action="store_true", help="all of it, in bytes and seconds")


def _gpus(text: str) -> tuple[int, ...]:
    """Budgets such as 2x4.8GB, or 4.8GB,2x6GiB for cards that differ."""
    budgets: list[int] = []
    for part in text.split(","):
        number, times, size = part.rpartition("x")
        budgets += [_size(size)] * (_count(number) if times else 1)
    return tuple(budgets)


def _size(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _device(text: str) -> str:
    if not is_device_id(text):
        raise ArgumentTypeError(f"{text!r} is not a device; write cpu, gpu0, gpu1, … as `citadel status` shows them")
    return text


def _positive(convert: Callable[[str], float], text: str, what: str) -> float:
    try:
        value = convert(text)
    except ValueError:
        value = 0
    if value <= 0 or not math.isfinite(value):
        raise ArgumentTypeError(f"{text!r} is not {what}")
    return value


def _seconds(text: str) -> float:
    return _positive(float, text, "a number of seconds above 0")


def _percent(text: str) -> float:
    """A share of 1; the sign may be left out."""
    return _positive(float, text.removesuffix("%"), "a percentage above 0, such as 10%") / 100


def _count_or_none(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _count(text: str) -> int:
    return int(_positive(int, text, "a whole number above 0"))
