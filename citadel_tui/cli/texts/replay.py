"""A replay for people, untimed or timed: the box in words and a row for each policy, or a picture. Pictures need matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from citadel_tui.cli.output import table
from citadel_tui.cli.picture import empty_figure, save_figure
from citadel_tui.words.figures import count_text, share_text
from engine.core.policy import Eviction
from engine.core.sizes import GB
from engine.replay.box import Box
from engine.replay.untimed import PolicyComparison, ReplayFigures
from engine.simulation.figures import Percentiles, TimedOutcome
from engine.simulation.timed import TimedComparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNTIMED_HEADINGS: Final = (
    *("POLICY", "SWITCH s", "REGRET", "HITS", "LOADS", "FROM DISK"),
    *("TO GPU GB", "DISK GB", "BACK GB", "FILLED"),
)
_UNTIMED_NOTE: Final = "* knows the future: a bound to measure against, not a policy. REGRET: switch seconds beyond it."
_TIMED_HEADINGS: Final = (
    *("POLICY", "SWITCH s", "WAIT mean", "p99", "DELAY mean", "p50", "p99", "DENIED", "HITS", "ON CPU", "FILLED"),
    *("TO GPU GB", "DISK GB", "BACK GB", "AHEAD s"),
)
_TIMED_NOTE: Final = (
    "WAIT: seconds until a request's model was ready for it.\n"
    "DELAY: seconds from its arrival to its answer, beyond those that its work takes on a GPU of its own.\n"
    "AHEAD: seconds of reading slabs from disk before anybody waited for them; not part of SWITCH, whose bytes are in DISK."
)


def untimed_text(compared: PolicyComparison) -> str:
    """The box in two lines, then a row for each policy and one for the clairvoyant reference."""
    outcomes = [*compared.policies.items(), ("clairvoyant*", compared.clairvoyant)]
    rows = [_untimed_cells(name, outcome, compared.regret(outcome)) for name, outcome in outcomes]
    return "\n\n".join(
        [_untimed_box(compared), table(_UNTIMED_HEADINGS, rows, right=_UNTIMED_HEADINGS[1:]), _UNTIMED_NOTE]
    )


def _untimed_box(compared: PolicyComparison) -> str:
    box = compared.box
    cards = " + ".join(f"{size_bytes / GB:.2f}" for size_bytes in box.gpus_bytes)
    served = compared.clairvoyant.requests
    return (
        f"{compared.requests} requests for {len(compared.sizes)} models of {sum(compared.sizes.values()) / GB:.1f} GB, "
        f"{served} when repeats count once; untimed, in order\n"
        f"GPUs {cards} GB, RAM tier {_ram_tier(box)} (exclusive), "
        f"copies {box.copy_bytes_per_s / GB:.3g} GB/s, disk {box.disk_bytes_per_s / GB:.3g} GB/s"
    )


def _ram_tier(box: Box) -> str:
    limit = "" if box.max_models is None else f" for {count_text(box.max_models, 'model', 'models')}"
    return f"{box.ram_bytes / GB:.2f} GB{limit}"


def _untimed_cells(name: str, outcome: ReplayFigures, regret: float) -> list[str]:
    return [
        name,
        f"{outcome.switch_s:.1f}",
        f"{100 * regret:.0f} %",
        share_text(outcome.hit_ratio),
        str(outcome.loads),
        str(outcome.disk_loads),
        f"{outcome.to_gpu_bytes / GB:.1f}",
        f"{outcome.from_disk_bytes / GB:.1f}",
        f"{outcome.to_ram_bytes / GB:.1f}",
        "-" if outcome.utilization is None else share_text(outcome.utilization),
    ]


def timed_text(compared: TimedComparison) -> str:
    """The box in two lines, then a row for each policy."""
    rows = [_timed_cells(name, outcome) for name, outcome in compared.policies.items()]
    return "\n\n".join([_timed_box(compared), table(_TIMED_HEADINGS, rows, right=_TIMED_HEADINGS[1:]), _TIMED_NOTE])


def _timed_box(compared: TimedComparison) -> str:
    box, compute = compared.box, compared.compute
    cards = " + ".join(f"{size_bytes / GB:.2f}" for size_bytes in box.gpus_bytes)
    one = next(iter(compared.policies.values()))
    return (
        f"{one.requests} requests for {len(compared.sizes)} models of {sum(compared.sizes.values()) / GB:.1f} GB, "
        f"timed; a GPU does {compute.work_per_s:g} of the trace's work a second, the CPU {compute.cpu_slowdown:g} times less\n"
        f"GPUs {cards} GB, RAM tier {_ram_tier(box)}, CPU {compute.cpu_bytes / GB:.2f} GB, "
        f"copies {box.copy_bytes_per_s / GB:.2g} GB/s, disk {box.disk_bytes_per_s / GB:.2g} GB/s"
    )


def _timed_cells(name: Eviction, outcome: TimedOutcome) -> list[str]:
    return [
        name,
        f"{outcome.switch_s:.1f}",
        *_seconds(outcome.waits, 99),
        *_seconds(outcome.delays, 50, 99),
        str(outcome.denied),
        share_text(outcome.hit_ratio),
        share_text(outcome.cpu_share),
        "-" if outcome.filled is None else share_text(outcome.filled),
        f"{outcome.moved.to_gpu_bytes / GB:.1f}",
        f"{outcome.moved.from_disk_bytes / GB:.1f}",
        f"{outcome.moved.to_ram_bytes / GB:.1f}",
        f"{outcome.read_ahead_s:.1f}",
    ]


def _seconds(found: Percentiles | None, *percents: int) -> list[str]:
    if found is None:
        return ["-"] * (1 + len(percents))
    return [f"{seconds:.2f}" for seconds in (found.mean_s, *(found.percentiles_s[percent] for percent in percents))]


def plot_untimed(compared: PolicyComparison, path: Path) -> None:
    """Write the picture to `path`, whose ending says in which format. Raises EngineError."""
    figure = empty_figure(6.0, 4.0)
    seconds: dict[str, float] = {name: outcome.switch_s for name, outcome in compared.policies.items()}
    seconds["clairvoyant (a bound)"] = compared.clairvoyant.switch_s
    _draw_seconds(figure.subplots(), seconds)
    save_figure(figure, path)


def plot_timed(compared: TimedComparison, path: Path) -> None:
    """Write the picture to `path`, whose ending says in which format. Raises EngineError."""
    figure = empty_figure(11.0, 4.0)
    left, right = figure.subplots(1, 2)
    _draw_seconds(left, {name: outcome.switch_s for name, outcome in compared.policies.items()})
    _draw_delays(right, {name: outcome.delays for name, outcome in compared.policies.items()})
    save_figure(figure, path)


def _draw_seconds(axes: Axes, seconds: Mapping[str, float]) -> None:
    bars = axes.barh(list(seconds), list(seconds.values()), color="0.6")
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel("switch seconds")


def _draw_delays(axes: Axes, delays: Mapping[str, Percentiles | None]) -> None:
    for name, found in delays.items():
        if found is not None:
            axes.plot(found.percentiles_s, range(101), label=name)
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set_xlabel("delay in seconds, at most")
    axes.set_ylabel("% of the answered requests")
    axes.legend(loc="lower right")
