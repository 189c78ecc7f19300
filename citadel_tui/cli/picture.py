"""Pictures of figures, for the commands that draw some. matplotlib is optional, and imported only when something is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.api import EngineError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def empty_figure(width_inches: float, height_inches: float) -> Figure:
    """Raises EngineError where there is no matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise EngineError(
            "drawing needs matplotlib, which is not installed: pip install 'citadel-tui[plot]'; nothing was drawn"
        ) from None
    return Figure((width_inches, height_inches), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write it to `path`, whose ending says how: .svg, .png, .pdf. Raises EngineError."""
    try:
        figure.savefig(path)
    except OSError as error:
        raise EngineError(f"{path} can't be written: {error.strerror}") from None
    except ValueError as error:
        raise EngineError(f"{path} can't be drawn: {error}") from None
