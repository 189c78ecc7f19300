"""The arguments of `citadel`: which commands there are, and which module runs each."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from citadel_tui.cli.values import (
    EXAMPLE,
    budgets,
    count,
    count_or_none,
    device,
    factor,
    generated_demand,
    percentage,
    seconds,
    size,
)
from engine.core.policy import Eviction
from engine.version import VERSION

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Commands = _SubParsersAction[ArgumentParser]

CONFIG_HELP: Final = "folder of gpu_allocation.yaml, for an engine that must be started"


def add_command(commands: Commands, name: str, purpose: str) -> ArgumentParser:
    """A command that takes `--config` after its name as well as before."""
    command = commands.add_parser(name, help=purpose, description=purpose)
    command.add_argument("--config", type=Path, metavar="DIR", default=SUPPRESS, help=CONFIG_HELP)
    return command


def acting_commands(commands: Commands) -> None:
    """Add them."""
    _verb_commands(commands)
    _plan_command(commands)
    _proposal_commands(commands)


def _verbs(commands: Commands) -> list[ArgumentParser]:
    """The commands that change who is resident, in the form that running and planning them share."""
    load = add_command(commands, "load", "make a model ready")
    load.add_argument("model")
    load.add_argument("--on", type=device, metavar="DEVICE", help="gpu0, gpu1, …, cpu; the best one when left out")
    evict = add_command(commands, "evict", "take a model off every device")
    evict.add_argument("model")
    pin = add_command(commands, "pin", "never make a model a victim")
    pin.add_argument("model")
    pin.add_argument("--on", type=device, metavar="DEVICE", help="and keep it there")
    unpin = add_command(commands, "unpin", "let a model be a victim again")
    unpin.add_argument("model")
    cpu = add_command(commands, "cpu", "run a model on the CPU and pin it there")
    cpu.add_argument("model")
    cpu.add_argument("--back", action="store_true", help="undo it: unpin the model and load it on the best GPU")
    move = add_command(commands, "move", "make a model ready on another device, then take it off its own")
    move.add_argument("model")
    move.add_argument("device", type=device)
    return [load, evict, pin, unpin, cpu, move]


def _verb_commands(commands: Commands) -> None:
    for verb in _verbs(commands):
        verb.add_argument("--yes", "-y", action="store_true", help="don't ask, whatever else the plan touches")
        verb.set_defaults(module="act")


def _plan_command(commands: Commands) -> None:
    plan = add_command(commands, "plan", "what a command would do now; changes nothing")
    verbs = plan.add_subparsers(title="commands", metavar="COMMAND", dest="verb", required=True)
    for verb in _verbs(verbs):
        verb.add_argument("--json", action="store_true", help="the plan or refusal as JSON")
        verb.set_defaults(module="plan")


def _proposal_commands(commands: Commands) -> None:
    rebalance = add_command(
        commands, "rebalance", "put models where the present demand is served with the least reloading"
    )
    drain = add_command(commands, "drain", "take everything off a device, to others as far as that pays")
    drain.add_argument("device", type=device)
    pack = add_command(commands, "pack", "free one device entirely")
    pack.add_argument("device", type=device, nargs="?", help="the one that is cheapest to free when left out")
    undo = add_command(commands, "undo", "take your last change back")
    for wish in (rebalance, drain, pack, undo):
        wish.add_argument("--apply", "--yes", "-y", dest="yes", action="store_true", help="do it without asking")
        wish.add_argument("--json", action="store_true", help="the proposal or refusal as JSON; nothing is done")
        wish.set_defaults(module="propose")


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


def machine_commands(commands: Commands) -> None:
    """Add them."""
    _process_commands(commands)
    _machine_commands(commands)
    _help_command(commands)


def _process_commands(commands: Commands) -> None:
    serve = add_command(commands, "serve", "run the engine in the foreground")
    serve.set_defaults(module="serve")
    stop = add_command(commands, "stop", "end the engine in order; its models leave memory")
    stop.set_defaults(module="serve")


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


RESULTS_FILE: Final = Path("GPU_Memory_Allocation_Strategy_Results.md")


def measuring_commands(commands: Commands) -> None:
    """Add them."""
    _bench_command(commands)
    _replay_command(commands)
    _drive_command(commands)
    _report_command(commands)


def _bench_command(commands: Commands) -> None:
    bench = add_command(commands, "bench", "how long switches take here; puts back what it moves")
    bench.usage = (
        "citadel bench [MODEL …] [--on DEVICE …] [--from {resident,ram,page-cache,disk} …] [--pairs] [-n N]\n"
        "                     [--warm-up N] [--yes] [--output FILE.json] [--csv FILE]\n"
        "       citadel bench compare BEFORE.json AFTER.json [--threshold PERCENT]\n"
        "       citadel bench plot RUN.json -o RUN.svg"
    )
    bench.set_defaults(module="bench")
    bench.add_argument("models", nargs="*", metavar="MODEL", help="all of the catalog when left out")
    bench.add_argument("--on", type=device, nargs="+", metavar="DEVICE", help="every GPU when left out")
    bench.add_argument(
        "--from",
        dest="tiers",
        nargs="+",
        choices=("resident", "ram", "page-cache", "disk"),
        default=("ram",),
        help="where loads start (ram); disk: the page cache is emptied of the slab; resident: requests on a ready model",
    )
    bench.add_argument("--pairs", action="store_true", help="every model out for every other, not only for itself")
    bench.add_argument("-n", type=count, default=7, dest="repeats", metavar="N", help="switches that count (7)")
    bench.add_argument("--warm-up", type=count_or_none, default=1, metavar="N", help="switches before them (1)")
    bench.add_argument("--yes", "-y", action="store_true", help="don't ask, whoever is taken off a device meanwhile")
    bench.add_argument(
        "--output", "-o", type=Path, metavar="FILE", help="keep every repeat and the machine's facts; plot: the picture"
    )
    bench.add_argument("--csv", type=Path, metavar="FILE", help="a row a repeat")
    bench.add_argument(
        "--threshold", type=percentage, default=0.1, metavar="PERCENT", help="compare: slower by more fails (10%%)"
    )


def _replay_command(commands: Commands) -> None:
    replay = add_command(commands, "replay", "what each policy would have done with a recorded demand")
    replay.set_defaults(module="replay")
    demand = replay.add_mutually_exclusive_group(required=True)
    demand.add_argument(
        "trace", type=Path, nargs="?", metavar="TRACE", help="lines of t_s,model,work under that heading"
    )
    demand.add_argument("--own", action="store_true", help="what the engine itself was asked; its sizes, its box")
    replay.add_argument("--policy", choices=("all", *get_args(Eviction)), default="all")
    replay.add_argument("--gpus", type=budgets, metavar="NxSIZE", help="their budgets (2x4.8GB)")
    replay.add_argument("--ram", type=size, metavar="SIZE", help="the RAM tier's budget (11.26GB)")
    replay.add_argument("--sizes", metavar="cycle|FILE", help="lines of model,size; or in turn (cycle)")
    replay.add_argument("--json", action="store_true", help="all of it, in bytes and seconds")
    replay.add_argument("--plot", type=Path, metavar="FILE.svg|png", help="draw it; needs matplotlib")
    timed = replay.add_argument_group("requests at their times, through the engine's own scheduler")
    timed.add_argument("--timed", action="store_true", help="delays, denials and the CPU's share; else order is all")
    timed.add_argument("--speed-up", type=factor, default=1.0, metavar="X", help="requests come X times as fast (1)")
    timed.add_argument("--work-per-s", type=factor, default=1.0, metavar="N", help="of the trace's work, on a GPU (1)")
    timed.add_argument("--cpu-slowdown", type=factor, default=8.0, metavar="X", help="of the CPU against a GPU (8)")
    timed.add_argument("--cpu", type=size, default="8GB", metavar="SIZE", help="what models on the CPU may take (8GB)")


def _drive_command(commands: Commands) -> None:
    drive = add_command(commands, "drive", "play a trace against the live engine with real requests")
    drive.set_defaults(module="drive")
    drive.add_argument(
        "trace", nargs="?", type=Path, metavar="TRACE", help="lines of t_s,model,work, under that heading"
    )
    drive.add_argument(
        "--generated", type=generated_demand, metavar="SPEC", help=f"instead of a trace: {EXAMPLE}[,gap_cv=1]"
    )
    drive.add_argument("--speed", type=factor, default=1.0, metavar="X", help="so many times as fast (1)")
    drive.add_argument("--models", default="cycle", metavar="cycle|by-rank|FILE", help="who plays the trace's models")
    drive.add_argument("--limit", type=count, metavar="N", help="the first N requests")
    drive.add_argument("--duration", type=seconds, metavar="S", help="for S seconds")
    drive.add_argument("--json", action="store_true", help="all of it, in seconds and shares")


def _report_command(commands: Commands) -> None:
    report = add_command(commands, "report", "write the results document, from what was recorded; needs no engine")
    report.set_defaults(module="report")
    report.add_argument("--output", type=Path, default=RESULTS_FILE, metavar="FILE", help=f"instead of {RESULTS_FILE}")


def using_commands(commands: Commands) -> None:
    """Add them."""
    _request_commands(commands)
    _models_command(commands)
    _prepare_command(commands)


def _request_commands(commands: Commands) -> None:
    embed = add_command(commands, "embed", "vectors of texts, and how alike they are")
    embed.set_defaults(module="embed")
    embed.add_argument("model")
    embed.add_argument("texts", nargs="+", metavar="TEXT")
    embed.add_argument("--json", action="store_true", help="the whole vectors")
    generate = add_command(commands, "generate", "a model's continuation of a prompt")
    generate.set_defaults(module="generate")
    generate.add_argument("model")
    generate.add_argument("prompt")
    generate.add_argument("--max-tokens", type=count, default=32, metavar="N")
    selftest = add_command(commands, "selftest", "load, switch and fall back for real, then put everything back")
    selftest.set_defaults(module="selftest")


def _models_command(commands: Commands) -> None:
    models = add_command(commands, "models", "the catalog")
    actions = models.add_subparsers(title="commands", metavar="COMMAND", dest="action", required=True)
    shown = add_command(actions, "list", "what the engine knows of each model")
    shown.set_defaults(module="models")
    made = add_command(actions, "make", "make synthetic models: real shapes, random weights")
    made.set_defaults(module="synthesize")
    made.add_argument("kinds", nargs="*", metavar="KIND", help="those of the catalog when left out")


def _prepare_command(commands: Commands) -> None:
    prepare = add_command(commands, "prepare", "write models' slabs before they are asked for; needs no engine")
    prepare.set_defaults(module="prepare")
    prepare.add_argument("models", nargs="*", metavar="MODEL", help="all of the catalog when left out")
    depth = prepare.add_mutually_exclusive_group()
    depth.add_argument(
        "--check",
        action="store_const",
        dest="depth",
        const="checksum",
        help="compare the checksums of slab and source; a damaged slab, or one whose source has changed, is built again",
    )
    depth.add_argument(
        "--again", action="store_const", dest="depth", const="nothing", help="build it again, whatever is there"
    )
    prepare.set_defaults(depth="sizes")


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
