"""`citadel replay`: what each policy would have done with a recorded demand. Starts no engine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from citadel_tui.cli.engine import attached, our_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.input_files import read_lines
from citadel_tui.cli.output import tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.replay_text import plot_timed, plot_untimed, timed_text, untimed_text
from citadel_tui.cli.values import budgets, factor, size
from engine.api import EngineError, EngineUnreachable, Snapshot
from engine.core.names import ModelName
from engine.core.planning.placement import gpus
from engine.core.policy import Eviction
from engine.core.prediction import predict
from engine.core.sizes import GB
from engine.recording.demand import own_demand
from engine.recording.trace import TraceError, TraceRequest, read_trace, sped_up
from engine.replay.box import Box, cycled_sizes, read_sizes
from engine.replay.untimed import EVICTIONS, compare_policies
from engine.simulation.compute import Compute
from engine.simulation.timed import compare_timed

_LEFT = "nothing was replayed"


class ReplayArguments(Arguments, frozen=True, kw_only=True):
    trace: Path | None
    own: bool
    policy: Eviction | Literal["all"]
    gpus: tuple[int, ...] | None
    """Budgets in bytes."""
    ram: int | None
    """Bytes."""
    sizes: str | None
    """`cycle`, or a file's path."""
    json: bool
    plot: Path | None
    timed: bool
    speed_up: float
    work_per_s: float
    cpu_slowdown: float
    cpu: int
    """Bytes."""


def add_arguments(command: CommandParser) -> None:
    _add_demand_and_box(command)
    command.add_argument("--json", action="store_true", help="all of it, in bytes and seconds")
    command.add_argument("--plot", type=Path, metavar="FILE.svg|png", help="draw it; needs matplotlib")
    timed = command.add_argument_group("requests at their times, through the engine's own scheduler")
    timed.add_argument("--timed", action="store_true", help="delays, denials and the CPU's share; else order is all")
    timed.add_argument("--speed-up", type=factor, default=1.0, metavar="X", help="requests come X times as fast (1)")
    timed.add_argument("--work-per-s", type=factor, default=1.0, metavar="N", help="of the trace's work, on a GPU (1)")
    timed.add_argument("--cpu-slowdown", type=factor, default=8.0, metavar="X", help="of the CPU against a GPU (8)")
    timed.add_argument("--cpu", type=size, default="8GB", metavar="SIZE", help="what models on the CPU may take (8GB)")
    command.carried_out_by(run, ReplayArguments)


def _add_demand_and_box(command: CommandParser) -> None:
    demand = command.add_mutually_exclusive_group(required=True)
    demand.add_argument(
        "trace", type=Path, nargs="?", metavar="TRACE", help="lines of t_s,model,work under that heading"
    )
    demand.add_argument("--own", action="store_true", help="what the engine itself was asked; its sizes, its box")
    command.add_argument("--policy", choices=("all", *get_args(Eviction)), default="all")
    command.add_argument("--gpus", type=budgets, metavar="NxSIZE", help="their budgets (2x4.8GB)")
    command.add_argument("--ram", type=size, metavar="SIZE", help="the RAM tier's budget (11.26GB)")
    command.add_argument("--sizes", metavar="cycle|FILE", help="lines of model,size; or in turn (cycle)")


def run(arguments: ReplayArguments) -> int:
    inputs = read_inputs(arguments)
    evictions = EVICTIONS if arguments.policy == "all" else (arguments.policy,)
    replay = _timed if arguments.timed else _untimed
    try:
        text = replay(arguments, inputs, evictions)
    except TraceError as error:
        source = "the engine's demand" if arguments.own else arguments.trace
        raise EngineError(f"{source} can't be replayed on this box: {error}") from None
    print(text)
    if arguments.plot is not None:
        tell(f"drawn to {arguments.plot}")
    return Exit.DONE


class Inputs(Struct, frozen=True):
    """All that a replay needs."""

    requests: tuple[TraceRequest, ...]
    sizes: Mapping[ModelName, int]
    box: Box


def read_inputs(arguments: ReplayArguments) -> Inputs:
    """By `arguments`. Raises EngineError where something is missing or damaged."""
    inputs = _own(arguments) if arguments.trace is None else _of_trace(arguments, arguments.trace)
    given = {"gpus_bytes": arguments.gpus, "ram_bytes": arguments.ram}
    return replace(
        inputs, box=replace(inputs.box, **{name: value for name, value in given.items() if value is not None})
    )


def _of_trace(arguments: ReplayArguments, trace: Path) -> Inputs:
    requests = read_lines(trace, read_trace, _LEFT)
    models = {request.model for request in requests}
    if arguments.sizes in (None, "cycle"):
        return Inputs(requests, cycled_sizes(models), Box())
    return Inputs(requests, _sizes_in(Path(arguments.sizes), models), Box())


def _own(arguments: ReplayArguments) -> Inputs:
    """The engine's recorded demand. Sizes and box are the running engine's, unless they are given."""
    try:
        requests = own_demand(our_paths().demand).requests
    except TraceError as error:
        raise EngineError(f"{error}; {_LEFT}") from None
    except OSError as error:
        raise EngineError(f"{error.filename} can't be read: {error.strerror}") from None
    models = {request.model for request in requests}
    if arguments.sizes == "cycle":
        return Inputs(requests, cycled_sizes(models), Box())
    if arguments.sizes is not None:
        return Inputs(requests, _sizes_in(Path(arguments.sizes), models), Box())
    snapshot = asyncio.run(_snapshot(arguments))
    return Inputs(requests, _sizes_of(snapshot, models), _box_of(snapshot, arguments))


def _sizes_in(path: Path, models: set[ModelName]) -> dict[ModelName, int]:
    return read_lines(path, lambda lines: read_sizes(lines, models), _LEFT)


async def _snapshot(arguments: ReplayArguments) -> Snapshot:
    try:
        async with attached(arguments) as engine:
            return await engine.snapshot()
    except EngineUnreachable as error:
        raise EngineUnreachable(f"{error} It would tell the models' sizes; --sizes FILE does, too.") from None


def _sizes_of(snapshot: Snapshot, models: set[ModelName]) -> dict[ModelName, int]:
    known = snapshot.state.models
    if missing := sorted(models - known.keys()):
        raise EngineError(
            f"{', '.join(missing)}: asked for once, no longer in the catalog; give sizes with --sizes FILE"
        )
    return {model: known[model].footprint.total_bytes for model in sorted(models)}


def _box_of(snapshot: Snapshot, arguments: ReplayArguments) -> Box:
    """The engine's GPUs and RAM tier, as fast as it predicts from what it has measured."""
    state = snapshot.state
    devices = gpus(state)
    if not devices and arguments.gpus is None:
        raise EngineError("the engine has no GPU; say which to replay on with --gpus")
    slowest_s = max((predict(state.devices[d].rates, GB).p50_s for d in devices), default=GB / Box().copy_bytes_per_s)
    return Box(
        gpus_bytes=tuple(snapshot.budgets[device] for device in devices),
        ram_bytes=state.ram.budget_bytes,
        copy_bytes_per_s=GB / slowest_s,
        disk_bytes_per_s=GB / predict(state.disk, GB).p50_s,
    )


def _untimed(arguments: ReplayArguments, inputs: Inputs, evictions: Sequence[Eviction]) -> str:
    compared = compare_policies(inputs.requests, inputs.box, inputs.sizes, evictions)
    if arguments.plot is not None:
        plot_untimed(compared, arguments.plot)
    return msgspec.json.encode(compared).decode() if arguments.json else untimed_text(compared)


def _timed(arguments: ReplayArguments, inputs: Inputs, evictions: Sequence[Eviction]) -> str:
    compute = Compute(arguments.work_per_s, arguments.cpu_slowdown, arguments.cpu)
    requests = sped_up(inputs.requests, arguments.speed_up)
    compared = compare_timed(requests, inputs.box, compute, inputs.sizes, evictions)
    if arguments.plot is not None:
        plot_timed(compared, arguments.plot)
    return msgspec.json.encode(compared).decode() if arguments.json else timed_text(compared)
