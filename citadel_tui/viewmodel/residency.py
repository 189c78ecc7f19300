"""Where a model has been: when it came to a device, from where and how long that took, and for whom it left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, assert_never

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.prose import section, sentences
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line
from citadel_tui.words.figures import clock_text, seconds_text
from citadel_tui.words.origins import ASKED_BY, FROM
from engine.core.names import ModelName
from engine.core.plans import EvictStep, LoadStep, PinStep, UnpinStep
from engine.core.records import Pinned, Switch

_SHOWN: Final = 12


def residency_lines(scene: Scene, model: ModelName, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """The section of the model's page, newest first; none when nothing is remembered."""
    newest_first = [text for record in reversed(scene.records) for text in _texts(record.entry, model)]
    return section("Where it has been", sentences(newest_first[:_SHOWN], width, glyphs))


def _texts(entry: object, model: ModelName) -> Iterator[str]:
    if not isinstance(entry, Switch | Pinned) or (isinstance(entry, Switch) and entry.outcome != "done"):
        return
    for step in reversed(entry.plan.steps):
        if step.model == model:
            yield f"{clock_text(entry.at_s)}  {_step_text(step, entry)}, asked by {ASKED_BY[entry.origin]}"


def _step_text(step: EvictStep | LoadStep | PinStep | UnpinStep, entry: Switch | Pinned) -> str:
    match step:
        case LoadStep():
            took = (
                f" in {seconds_text(entry.total_s)}" if isinstance(entry, Switch) and len(entry.plan.loads) == 1 else ""
            )
            return f"came to {step.device}{took}, {FROM[step.tier]}"
        case EvictStep(victim=True):
            return f"left {step.device} for {', '.join(load.model for load in entry.plan.loads)}"
        case EvictStep():
            return f"left {step.device}"
        case PinStep():
            return f"was pinned{f' to {step.device}' if step.device else ''}"
        case UnpinStep():
            return "was unpinned"
        case _:
            assert_never(step)
