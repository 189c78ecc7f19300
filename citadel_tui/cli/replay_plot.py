"""A replay as a picture: switch seconds of each policy and, when it was timed, how the delays are spread. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from engine.api import EngineError
from engine.replay.comparison import Comparison
from engine.simulation.comparison import TimedComparison
from engine.simulation.figures import Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_untimed(compared: Comparison, path: Path) -> None:
    """Write the picture to `path`, whose ending says in which format. Raises EngineError."""
    figure = _figure(width_inches=6.0)
    seconds: dict[str, float] = {name: outcome.switch_s for name, outcome in compared.policies.items()}
    seconds["clairvoyant (a bound)"] = compared.clairvoyant.switch_s
    _draw_seconds(figure.subplots(), seconds)
    _save(figure, path)


def plot_timed(compared: TimedComparison, path: Path) -> None:
    """Write the picture to `path`, whose ending says in which format. Raises EngineError."""
    figure = _figure(width_inches=11.0)
    left, right = figure.subplots(1, 2)
    _draw_seconds(left, {name: outcome.switch_s for name, outcome in compared.policies.items()})
    _draw_delays(right, {name: outcome.delays for name, outcome in compared.policies.items()})
    _save(figure, path)


def _figure(width_inches: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise EngineError("--plot needs matplotlib: pip install 'citadel-tui[plot]'; nothing was drawn") from None
    return Figure((width_inches, 4.0), layout="constrained")


def _draw_seconds(axes: Axes, seconds: Mapping[str, float]) -> None:
    bars = axes.barh(list(seconds), list(seconds.values()), color="0.6")
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel("switch seconds")


def _draw_delays(axes: Axes, delays: Mapping[str, Spread | None]) -> None:
    for name, spread in delays.items():
        if spread is not None:
            axes.plot(spread.percentiles_s, range(101), label=name)
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set_xlabel("delay in seconds, at most")
    axes.set_ylabel("% of the answered requests")
    axes.legend(loc="lower right")


def _save(figure: Figure, path: Path) -> None:
    try:
        figure.savefig(path)
    except OSError as error:
        raise EngineError(f"{path} can't be written: {error.strerror}") from None
    except ValueError as error:
        raise EngineError(f"{path} can't be drawn: {error}") from None
