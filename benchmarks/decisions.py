"""How long one decision takes as the box grows: `python -m benchmarks.decisions --help`.

A decision is the full plan of a load under pressure: every device is filled, the model is on none of them, and each device
names its cheapest victims. Every plan is made on a state that no question has been asked of before, as the engine's is after
each event. What counts is the processor's time for this process, so that what else the machine does weighs little.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from time import process_time
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine.core.commands import Load
from engine.core.forecast.demand import request_came
from engine.core.ledger import free
from engine.core.models import Footprint
from engine.core.names import ModelName
from engine.core.planning.planner import plan
from engine.core.plans import Plan
from engine.core.policy import Policy
from engine.core.prediction import Movement
from engine.core.state import Resident, Slab, State
from engine.recording.host_facts import HostFacts, this_machine
from engine.replay.box import CYCLE_BYTES, Box, starting_state
from engine.replay.generated import demand

_SIZES: Final = ((4, 2), (10, 2), (30, 2), (100, 8), (300, 20), (1000, 64))
"""Models and GPUs."""
FITTING: Final = 0.7
"""The share of all models' bytes that the GPUs hold."""
_NOW_S: Final = 1e6
_SAMPLES: Final = tuple(Movement(size, 3e-10 * size * (1 + number / 50)) for number, size in enumerate(CYCLE_BYTES * 4))


class SizeTimes(Struct, frozen=True):
    """One size of box."""

    models: int
    gpus: int
    residents: int
    decisions: int
    victims: float
    """Of a plan, on average."""
    median_ms: float
    p95_ms: float
    longest_ms: float


class DecisionTimes(Struct, frozen=True):
    """A whole run."""

    machine: HostFacts
    sizes: tuple[SizeTimes, ...]


def main() -> int:
    parser = ArgumentParser(description="How long one decision takes as the box grows.")
    parser.add_argument("--rounds", type=int, default=300, metavar="N", help="decisions of each size (300)")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="keep the figures, for a plot")
    arguments = parser.parse_args()
    results = DecisionTimes(
        this_machine(()), tuple(size_times(models, gpus, arguments.rounds) for models, gpus in _SIZES)
    )
    if arguments.output is not None:
        arguments.output.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    sys.stdout.write(_report_text(results))
    return 0


def size_times(models: int, gpus: int, rounds: int) -> SizeTimes:
    """Plan loads of all models that are on no GPU, in turn, until `rounds` plans are made."""
    state = under_pressure(models, gpus)
    times_ms, victims = list[float](), 0
    for model in _absent(state, rounds):
        asked = request_came(state, model, _NOW_S)
        began_s = process_time()
        found = plan(asked, Load(model), Policy(), _NOW_S)
        times_ms.append(1e3 * (process_time() - began_s))
        assert isinstance(found, Plan)
        victims += len(found.victims)
    p95_ms = quantiles(times_ms, n=20, method="inclusive")[-1]
    mean = victims / len(times_ms)
    return SizeTimes(models, gpus, len(state.residents), len(times_ms), mean, median(times_ms), p95_ms, max(times_ms))


def under_pressure(models: int, gpus: int) -> State:
    """A box whose GPUs are full of the models that were asked for most, after some thousands of requests."""
    requests = demand(models, 1.0, 2.0, seed=1, requests=4 * models)
    sizes = {f"m{rank:03}": CYCLE_BYTES[-1 - rank % len(CYCLE_BYTES)] for rank in range(models)}
    budget_bytes = max(int(FITTING * sum(sizes.values()) / gpus), max(sizes.values()))
    state = starting_state(Box((budget_bytes,) * gpus, sum(sizes.values()) // 4), sizes)
    devices = {
        name: replace(known, rates=replace(known.rates, samples=_SAMPLES)) for name, known in state.devices.items()
    }
    state = replace(state, devices=devices)
    for request in requests:
        state = request_came(state, request.model, request.at_s)
    wanted = sorted(sizes, key=lambda name: -state.models[name].demand.requests)
    for model in wanted:
        state = _placed(state, model)
    return state


def _placed(state: State, model: ModelName) -> State:
    """`state` with `model` on the GPU with the most room, or in the RAM tier when there is not enough anywhere."""
    size_bytes = state.models[model].footprint.total_bytes
    roomiest = max(state.devices, key=lambda device: free(state, device))
    if free(state, roomiest) < size_bytes:
        slabs = (*state.ram.slabs, Slab(model, size_bytes, "kept", 0.0))
        return replace(state, ram=replace(state.ram, slabs=slabs))
    resident = Resident(model, roomiest, "ready", Footprint(size_bytes, 0), 0.0)
    return replace(state, residents=(*state.residents, resident))


def _absent(state: State, rounds: int) -> Iterator[ModelName]:
    absent = [model for model in state.models if not state.of(model)]
    for number in range(rounds):
        yield absent[number % len(absent)]


def _report_text(results: DecisionTimes) -> str:
    machine = results.machine
    rows = [
        f"| {t.models} | {t.gpus} | {t.residents} | {t.victims:.1f} | {t.median_ms:.2f} | {t.p95_ms:.2f} | {t.longest_ms:.2f} |"
        for t in results.sizes
    ]
    return "\n".join(
        [
            f"{machine.cpu}, {machine.cores} cores; Python {machine.python}; {results.sizes[0].decisions} decisions of each size",
            "",
            "| models | GPUs | residents | victims of a plan | median, ms | p95, ms | longest, ms |",
            "|--:|--:|--:|--:|--:|--:|--:|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
