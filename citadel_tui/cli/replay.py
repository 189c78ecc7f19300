"""`citadel replay`: what each policy would have done with a recorded demand. Starts no engine."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from citadel_tui.cli.engine import attached, our_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.input_files import read_lines
from citadel_tui.cli.output import tell
from citadel_tui.cli.replay_text import plot_timed, plot_untimed, replay_text, timed_text
from engine.api import EngineError, EngineUnreachable, Snapshot
from engine.core.names import ModelName
from engine.core.planning.placement import gpus
from engine.core.policy import Eviction
from engine.core.prediction import predict
from engine.recording.demand import own_demand
from engine.recording.trace import TraceError, TraceRequest, read_trace, sped_up
from engine.replay.box import GB, Box, cycled_sizes, read_sizes
from engine.replay.untimed import EVICTIONS, compare_policies
from engine.simulation.compute import Compute
from engine.simulation.timed import compare_timed

_LEFT = "nothing was replayed"


class Inputs(Struct, frozen=True):
    """All that a replay needs."""

    requests: tuple[TraceRequest, ...]
    sizes: Mapping[ModelName, int]
    box: Box


def read_inputs(arguments: Namespace) -> Inputs:
    """By `arguments`. Raises EngineError where something is missing or damaged."""
    inputs = _own(arguments) if arguments.own else _of_trace(arguments)
    given = {"gpus_bytes": arguments.gpus, "ram_bytes": arguments.ram}
    return replace(
        inputs, box=replace(inputs.box, **{name: value for name, value in given.items() if value is not None})
    )


def _of_trace(arguments: Namespace) -> Inputs:
    requests = read_lines(arguments.trace, read_trace, _LEFT)
    models = {request.model for request in requests}
    if arguments.sizes in (None, "cycle"):
        return Inputs(requests, cycled_sizes(models), Box())
    return Inputs(requests, _sizes_in(Path(arguments.sizes), models), Box())


def _own(arguments: Namespace) -> Inputs:
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


async def _snapshot(arguments: Namespace) -> Snapshot:
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


def _box_of(snapshot: Snapshot, arguments: Namespace) -> Box:
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


def run(arguments: Namespace) -> int:
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


def _untimed(arguments: Namespace, inputs: Inputs, evictions: Sequence[Eviction]) -> str:
    compared = compare_policies(inputs.requests, inputs.box, inputs.sizes, evictions)
    if arguments.plot is not None:
        plot_untimed(compared, arguments.plot)
    return msgspec.json.encode(compared).decode() if arguments.json else replay_text(compared)


def _timed(arguments: Namespace, inputs: Inputs, evictions: Sequence[Eviction]) -> str:
    compute = Compute(arguments.work_per_s, arguments.cpu_slowdown, arguments.cpu)
    requests = sped_up(inputs.requests, arguments.speed_up)
    compared = compare_timed(requests, inputs.box, compute, inputs.sizes, evictions)
    if arguments.plot is not None:
        plot_timed(compared, arguments.plot)
    return msgspec.json.encode(compared).decode() if arguments.json else timed_text(compared)
