"""The RAM tier in full: what is kept, why each copy is worth its place, and which goes first."""

from __future__ import annotations

from typing import Final

from citadel_tui.viewmodel.history import TIER
from citadel_tui.viewmodel.over_time import memory_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.prose import fact, section
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span, named, right
from citadel_tui.words.figures import ago_text, range_text
from engine.core.ledger import slab_in_use
from engine.core.names import ModelName, is_cpu
from engine.core.planning.ram_tier import slabs_to_drop
from engine.core.prediction import predict
from engine.core.sizes import format_room, format_size, mib
from engine.core.state import Situation, Slab, State

_LABEL: Final = 10
_RANK: Final = 5
_SIZE: Final = 7
_USED: Final = 17
"""Cells of how long ago, with a blank at the edge."""


def tier_lines(scene: Scene, paper: Paper) -> tuple[Line, ...]:
    """Its limits, what it keeps in the order of leaving, what the CPU runs from, and its past."""
    if scene.snapshot is None or scene.hello is None:
        return fact("RAM tier", "nothing is known yet", paper.width, _LABEL, "warn")
    state = scene.snapshot.state
    kept = state.tier_slabs
    order = _leaving_order(Situation(state, scene.hello.policy, scene.now_s))
    last = len(order)
    ranked = sorted(kept, key=lambda slab: order.index(slab.model) if slab.model in order else last)
    on_cpu = [slab for slab in state.ram.slabs if slab not in kept]
    return (
        *_limits(state, kept, paper.width),
        *section("Kept, the first to go on top, in MiB", _rows(scene, state, ranked, paper)),
        *section("The CPU runs from these, and pays for them, in MiB", _rows(scene, state, on_cpu, paper)),
        *memory_lines(scene, TIER, paper),
    )


def _limits(state: State, kept: tuple[Slab, ...], width: int) -> tuple[Line, ...]:
    taken = sum(slab.size_bytes for slab in kept)
    return (
        *fact("what it is", "copies of weights in the host's memory, from which loads are fastest", width, _LABEL),
        *fact("bytes", f"{format_size(taken)} of {format_room(state.ram.budget_bytes)}", width, _LABEL),
        *fact("models", f"{len(kept)} of at most {state.ram.max_models}", width, _LABEL),
    )


def _leaving_order(situation: Situation) -> tuple[ModelName, ...]:
    """Everything that may go, in order: what would go for a copy that needs the whole tier."""
    return slabs_to_drop(situation, situation.state.ram.budget_bytes + 1)


def _rows(scene: Scene, state: State, slabs: list[Slab], paper: Paper) -> tuple[Line, ...]:
    names = min(max((len(slab.model) for slab in slabs), default=0), max(paper.width - _RANK - _SIZE - _USED, 10))
    lines: list[Line] = []
    for rank, slab in enumerate(slabs, 1):
        head = (
            Span(right(f"{rank}. ", _RANK), "dim"),
            Span(named(paper.text(slab.model), names, paper.glyphs.ellipsis), "strong"),
            Span(right(str(mib(slab.size_bytes)), _SIZE)),
            Span(f"  used {ago_text(scene.now_s - slab.used_s)}", "dim"),
        )
        lines.extend((head, *fact("", _why(state, slab), paper.width, _RANK - 1, "dim")))
    return tuple(lines)


def _asked_text(state: State, model: ModelName) -> str:
    rate = state.models[model].demand.per_minute if model in state.models else 0.0
    return f"asked for {rate:.1f} times a minute" if rate >= 0.05 else "not asked for lately"


def _why(state: State, slab: Slab) -> str:
    asked = _asked_text(state, slab.model)
    if slab.stage == "writing back":
        return "is being written back from the device that its model leaves"
    if slab.stage == "damaged":
        return "is damaged: it goes once nobody runs on its bytes any more"
    if slab.stage != "kept":
        return f"is being read ahead: {slab.ahead}" if slab.ahead else "is being read from disk"
    if any(is_cpu(r.device) for r in state.of(slab.model)):
        return f"no bytes move for a run on the CPU; {asked}"
    if slab_in_use(state, slab.model):
        return "stays: a load copies from it now"
    devices = ", ".join(r.device for r in state.of(slab.model))
    if devices:
        return f"is on {devices} as well, so it goes before copies of models that are nowhere else; {asked}"
    if slab.ahead:
        return f"was read ahead: {slab.ahead}; {asked}"
    predicted = predict(state.disk, slab.size_bytes)
    return f"saves a reading from disk, predicted {range_text(predicted.p50_s, predicted.p90_s)}; {asked}"
