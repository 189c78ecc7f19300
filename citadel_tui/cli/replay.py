"""`citadel replay`: what each policy would have done with a recorded demand. Starts no engine."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

import msgspec

from citadel_tui.cli.exits import Exit
from citadel_tui.cli.replay_inputs import Inputs, read_inputs
from citadel_tui.cli.replay_plot import plot_timed, plot_untimed
from citadel_tui.cli.replay_text import replay_text
from citadel_tui.cli.replay_timed_text import timed_text
from citadel_tui.cli.output import tell
from engine.api import EngineError
from engine.core.policy import Eviction
from engine.replay.comparison import EVICTIONS, compare
from engine.replay.trace import TraceError, sped_up
from engine.simulation.comparison import compare_timed
from engine.simulation.compute import Compute


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
    compared = compare(inputs.requests, inputs.box, inputs.sizes, evictions)
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
