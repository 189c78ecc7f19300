"""The sections of the results document on switches: how long they took, and how well that was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from citadel_tui.cli.markdown import percent, rows
from citadel_tui.words.labels import Label
from engine.bench.statistics import Spread
from engine.core.plans import Tier
from engine.core.records import Switch
from engine.results.switching import Calibration, Latency, calibrations, latencies

_FROM: Final[dict[Tier, str]] = {"ram": "RAM tier", "disk": "disk", "source": "checkpoint"}


def switching(switches: Sequence[Switch], label: Label) -> str:
    """Loads on GPUs in ms, those that had to prepare a model first apart."""
    found = latencies(switches)
    prepared = [one for one in found if one.tier != "source"]
    preparing = [one for one in found if one.tier == "source"]
    failed = sum(switch.outcome == "failed" for switch in switches)
    parts = [
        "Loads on GPUs, in ms. *Switch*: evicting victims, reading, copying, binding and a first run. *With waits*: from the "
        "command on, the waits for room and for running uses to end included. *Efficiency*: the time that the bytes need at the "
        "fastest copy measured, over copy, bind and first run.",
        _table(prepared, label) if prepared else "No switch was recorded.",
    ]
    if preparing:
        parts += ["The first load of a model also prepares its weights, once:", _table(preparing, label)]
    return "\n\n".join([*parts, f"Switches that failed: {failed}."])


def predictions(switches: Sequence[Switch]) -> str:
    """How the loads' times compare with what their plans had said."""
    found = calibrations(switches)
    if not found:
        return "No switch was predicted."
    headings = ("from", "loads", "within the time predicted for nine in ten", "measured ÷ predicted, median")
    text = "Loads on GPUs, with the evictions before them. Waits are not predicted, and not measured here."
    return f"{text}\n\n{rows(headings, [_calibrated(one) for one in found])}"


def _calibrated(one: Calibration) -> tuple[str, ...]:
    return _FROM[one.tier], str(one.switches), percent(one.within_p90), f"{one.median_ratio:.2f}"


def _table(found: Sequence[Latency], label: Label) -> str:
    headings = ("model", "from", "switches", "p50", "p95", "max", "with waits p50", "p95", "max", "efficiency")
    return rows(headings, [_cells(one, label) for one in found])


def _cells(one: Latency, label: Label) -> tuple[str, ...]:
    efficiency = "-" if one.efficiency is None else f"{100 * one.efficiency:.0f} %"
    return label(one.model), _FROM[one.tier], str(one.moving.count), *_ms(one.moving), *_ms(one.total), efficiency


def _ms(spread: Spread) -> tuple[str, str, str]:
    return f"{1000 * spread.p50:.0f}", f"{1000 * spread.p95:.0f}", f"{1000 * spread.largest:.0f}"
