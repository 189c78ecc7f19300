"""Commands that measure: on this machine, on traces, on what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from citadel_tui.cli.arguments.adding import add_command
from citadel_tui.cli.values import (
    budgets,
    count,
    count_or_none,
    device,
    factor,
    generated_demand,
    percent,
    seconds,
    size,
)
from citadel_tui.cli.generated import EXAMPLE
from engine.core.policy import Eviction

if TYPE_CHECKING:
    from citadel_tui.cli.arguments.adding import Commands

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
        "--threshold", type=percent, default=0.1, metavar="PERCENT", help="compare: slower by more fails (10%%)"
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
    report.set_defaults(module="results")
    report.add_argument("--output", type=Path, default=RESULTS_FILE, metavar="FILE", help=f"instead of {RESULTS_FILE}")
