"""A timed replay in words: the box, and a row for each policy."""

from __future__ import annotations

from typing import Final

from citadel_tui.cli.output import table
from engine.core.policy import Eviction
from engine.replay.sizes import GB
from engine.simulation.comparison import TimedComparison
from engine.simulation.figures import Spread, TimedOutcome

_HEADINGS: Final = (
    "POLICY",
    "SWITCH s",
    "WAIT mean",
    "p99",
    "DELAY mean",
    "p50",
    "p99",
    "DENIED",
    "HITS",
    "ON CPU",
    "FILLED",
    "TO GPU GB",
    "DISK GB",
    "BACK GB",
)
_NOTE: Final = (
    "WAIT: seconds until a request's model was ready for it.\n"
    "DELAY: seconds from its arrival to its answer, beyond those that its work takes on a GPU of its own."
)


def timed_text(compared: TimedComparison) -> str:
    """The box in two lines, then a row for each policy."""
    rows = [_cells(name, outcome) for name, outcome in compared.policies.items()]
    return "\n\n".join([_box(compared), table(_HEADINGS, rows, right=_HEADINGS[1:]), _NOTE])


def _box(compared: TimedComparison) -> str:
    box, compute = compared.box, compared.compute
    cards = " + ".join(f"{size_bytes / GB:.2f}" for size_bytes in box.gpus_bytes)
    one = next(iter(compared.policies.values()))
    return (
        f"{one.requests} requests for {len(compared.sizes)} models of {sum(compared.sizes.values()) / GB:.1f} GB, "
        f"timed; a GPU does {compute.work_per_s:g} of the trace's work a second, the CPU {compute.cpu_slowdown:g} times less\n"
        f"GPUs {cards} GB, RAM tier {box.ram_bytes / GB:.2f} GB, CPU {compute.cpu_bytes / GB:.2f} GB, "
        f"copies {box.copy_bytes_per_s / GB:.2g} GB/s, disk {box.disk_bytes_per_s / GB:.2g} GB/s"
    )


def _cells(name: Eviction, outcome: TimedOutcome) -> list[str]:
    return [
        name,
        f"{outcome.switch_s:.1f}",
        *_seconds(outcome.waits, 99),
        *_seconds(outcome.delays, 50, 99),
        str(outcome.denied),
        f"{100 * outcome.hit_ratio:.1f} %",
        f"{100 * outcome.cpu_share:.1f} %",
        "-" if outcome.filled is None else f"{100 * outcome.filled:.1f} %",
        f"{outcome.moved.to_gpu_bytes / GB:.1f}",
        f"{outcome.moved.from_disk_bytes / GB:.1f}",
        f"{outcome.moved.to_ram_bytes / GB:.1f}",
    ]


def _seconds(spread: Spread | None, *percentiles: int) -> list[str]:
    if spread is None:
        return ["-"] * (1 + len(percentiles))
    return [f"{seconds:.2f}" for seconds in (spread.mean_s, *(spread.percentiles_s[p] for p in percentiles))]
