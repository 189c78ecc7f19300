"""`citadel replay`: what each policy would have done with a recorded demand. Starts no engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from citadel_tui.cli.entry import Exit
from citadel_tui.cli.input_files import DemandArguments, Inputs, add_box, add_generated, read_inputs
from citadel_tui.cli.output import tell
from citadel_tui.cli.parser import CommandParser
from citadel_tui.cli.texts.replay import plot_timed, plot_untimed, timed_text, untimed_text
from citadel_tui.cli.values import factor, size
from citadel_tui.words.advice import few_requests_text
from engine.api import EngineError
from engine.core.policy import Eviction
from engine.core.serialization import to_json
from engine.recording.trace import TraceError, sped_up, without_repeats
from engine.replay.untimed import EVICTIONS, compare_policies
from engine.simulation.compute import Compute
from engine.simulation.timed import compare_timed


class ReplayArguments(DemandArguments, frozen=True, kw_only=True):
    own: bool
    policy: Eviction | Literal["all"]
    json: bool
    plot: Path | None
    timed: bool
    speed_up: float
    work_per_s: float
    cpu_slowdown: float
    cpu: int
    """Bytes."""


def add_arguments(command: CommandParser) -> None:
    demand = command.add_mutually_exclusive_group(required=True)
    demand.add_argument(
        "trace", type=Path, nargs="?", metavar="TRACE", help="lines of t_s,model,work under that heading"
    )
    demand.add_argument("--own", action="store_true", help="what the engine itself was asked; its sizes, its box")
    add_generated(demand)
    command.add_argument("--policy", choices=("all", *get_args(Eviction)), default="all")
    add_box(command)
    command.add_argument("--json", action="store_true", help="all of it, in bytes and seconds")
    command.add_argument("--plot", type=Path, metavar="FILE.svg|png", help="draw it; needs matplotlib")
    timed = command.add_argument_group("requests at their times, through the engine's own scheduler")
    timed.add_argument("--timed", action="store_true", help="delays, denials and the CPU's share; else order is all")
    timed.add_argument("--speed-up", type=factor, default=1.0, metavar="X", help="requests come X times as fast (1)")
    timed.add_argument("--work-per-s", type=factor, default=1.0, metavar="N", help="of the trace's work, on a GPU (1)")
    timed.add_argument("--cpu-slowdown", type=factor, default=8.0, metavar="X", help="of the CPU against a GPU (8)")
    timed.add_argument("--cpu", type=size, default="8GB", metavar="SIZE", help="what models on the CPU may take (8GB)")
    command.carried_out_by(run, ReplayArguments)


def run(arguments: ReplayArguments) -> int:
    inputs = read_inputs(arguments)
    if missing := sorted({request.model for request in inputs.requests} - inputs.setup.sizes.keys()):
        raise EngineError(
            f"{', '.join(missing)}: asked for once, no longer in the catalog; give sizes with --sizes FILE"
        )
    evictions = EVICTIONS if arguments.policy == "all" else (arguments.policy,)
    replay = _timed if arguments.timed else _untimed
    try:
        text = replay(arguments, inputs, evictions)
    except TraceError as error:
        raise EngineError(f"{arguments.demand} can't be replayed on this box: {error}") from None
    print(text)
    if len(evictions) > 1 and (few := few_requests_text(len(without_repeats(inputs.requests)))):
        tell(few)
    if arguments.plot is not None:
        tell(f"drawn to {arguments.plot}")
    return Exit.DONE


def _untimed(arguments: ReplayArguments, inputs: Inputs, evictions: Sequence[Eviction]) -> str:
    compared = compare_policies(inputs.requests, inputs.setup.box, inputs.setup.sizes, evictions)
    if arguments.plot is not None:
        plot_untimed(compared, arguments.plot)
    return to_json(compared).decode() if arguments.json else untimed_text(compared)


def _timed(arguments: ReplayArguments, inputs: Inputs, evictions: Sequence[Eviction]) -> str:
    compute = Compute(arguments.work_per_s, arguments.cpu_slowdown, arguments.cpu)
    requests = sped_up(inputs.requests, arguments.speed_up)
    compared = compare_timed(requests, inputs.setup.box, compute, inputs.setup.sizes, evictions)
    if arguments.plot is not None:
        plot_timed(compared, arguments.plot)
    return to_json(compared).decode() if arguments.json else timed_text(compared)
