"""More demand than a box can answer: the engine's order beside first come, first served, `python -m benchmarks.overload`.

The engine gives all requests that wait for a model their leases when it comes, before it leaves again; strictly in the order of
arrival each change of the model that is asked for is a switch. Generated demand (Zipf), at so many times the work that the
GPUs can do with every model ready. First come, first served: the request at the head takes the GPU that can begin it first,
where its model is, or in the place of the longest unused; nobody passes it. It is given a RAM tier that holds everything, so that
it reads nothing from disk, and endless patience; the engine's figures are those of the timed replay, with its tier, its
deadlines and its CPU.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from statistics import fmean

from msgspec import Struct

from engine.core.names import ModelName
from engine.core.policy import Policy
from engine.recording.trace import TraceRequest
from engine.replay.box import Box, cycled_sizes
from engine.replay.generated import demand
from engine.simulation.compute import Compute
from engine.simulation.timed import replay_timed

_HEADINGS = ("load", "order", "all done after, × the trace", "mean delay, s", "switch s", "denied", "on CPU")


class InOrder(Struct, frozen=True):
    """What first come, first served came to."""

    ended_s: tuple[float, ...]
    """When each request had its answer, from the start."""
    switch_s: float


class _Gpu(Struct):
    free_s: float = 0.0
    resident: list[ModelName] = []
    """The longest unused first."""


def first_come_first_served(
    requests: Sequence[TraceRequest], box: Box, work_per_s: float, sizes: Mapping[ModelName, int]
) -> InOrder:
    """Serve `requests` strictly in the order in which they came."""
    gpus = [_Gpu(resident=[]) for _ in box.gpus_bytes]
    ended, switched_s, head_s = [], 0.0, 0.0
    for request in requests:
        from_s = max(head_s, request.at_s)
        copy_s = sizes[request.model] / box.copy_bytes_per_s
        gpu = min(gpus, key=lambda g: max(g.free_s, from_s) + (0 if request.model in g.resident else copy_s))
        head_s = max(gpu.free_s, from_s)
        if request.model in gpu.resident:
            gpu.resident.remove(request.model)
        else:
            budget = box.gpus_bytes[gpus.index(gpu)] - sizes[request.model]
            while sum(sizes[model] for model in gpu.resident) > budget:
                gpu.resident.pop(0)
            switched_s += copy_s
            head_s += copy_s
        gpu.resident.append(request.model)
        gpu.free_s = head_s + request.work / work_per_s
        ended.append(gpu.free_s)
    return InOrder(tuple(ended), switched_s)


def main() -> int:
    parser = ArgumentParser(description="The engine's order of requests beside first come, first served, in overload.")
    parser.add_argument("loads", nargs="*", type=float, default=[0.8, 1.2, 2.0], help="times what the GPUs can do")
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--requests", type=int, default=1500)
    arguments = parser.parse_args()
    requests = demand(arguments.models, 1.1, 1.0, seed=1, requests=arguments.requests)
    sizes, box = cycled_sizes(request.model for request in requests), Box()
    span_s = requests[-1].at_s - requests[0].at_s
    _write(*_HEADINGS)
    _write(*["---"] * len(_HEADINGS))
    for load in arguments.loads:
        work_per_s = sum(request.work for request in requests) / (span_s * len(box.gpus_bytes) * load)
        _write(f"{load:g}", "first come, first served", *_in_order(requests, box, work_per_s, sizes))
        _write(f"{load:g}", "the engine's", *_engine(requests, box, work_per_s, sizes))
    return 0


def _in_order(
    requests: Sequence[TraceRequest], box: Box, work_per_s: float, sizes: Mapping[ModelName, int]
) -> tuple[str, ...]:
    served = first_come_first_served(requests, box, work_per_s, sizes)
    delays = [e - r.at_s - r.work / work_per_s for e, r in zip(served.ended_s, requests, strict=True)]
    done = max(served.ended_s) / requests[-1].at_s
    return f"{done:.2f}", f"{fmean(delays):.1f}", f"{served.switch_s:.0f}", "0", "0"


def _engine(
    requests: Sequence[TraceRequest], box: Box, work_per_s: float, sizes: Mapping[ModelName, int]
) -> tuple[str, ...]:
    outcome = replay_timed(requests, box, Compute(work_per_s), sizes, Policy())
    delays = outcome.delays
    mean = f"{delays.mean_s:.1f}" if delays is not None else "-"
    done = outcome.simulated_s / requests[-1].at_s
    return f"{done:.2f}", mean, f"{outcome.switch_s:.0f}", str(outcome.denied), str(outcome.on_cpu)


def _write(*cells: str) -> None:
    sys.stdout.write("| " + " | ".join(cells) + " |\n")


if __name__ == "__main__":
    raise SystemExit(main())
