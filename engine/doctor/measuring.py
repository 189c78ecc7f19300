"""Copy rates of the visible cards: those on record, or new ones from a program of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import Final

import msgspec

from engine.doctor.copy_rates import Circumstances, Timed, keep, recall
from engine.doctor.gathering.program import ProgramFailed, output_of
from engine.doctor.gpus import Rates
from engine.doctor.machine import Card

TIMEOUT_S: Final = 120.0
PROGRAM: Final = "engine.doctor.programs.copy_rates"


def recalled(cards: Sequence[Card], driver: str, cache: Path) -> list[Rates]:
    """Of each card what was measured with this driver and this torch."""
    kept = [recall(cache, circumstances) for circumstances in _circumstances(cards, driver)]
    return [Rates(found.rates, found.measured_at_s, "") if found else Rates() for found in kept]


async def measured(
    cards: Sequence[Card],
    driver: str,
    cache: Path,
    environment: Mapping[str, str],
    now_s: float,
    program: str = PROGRAM,
) -> list[Rates]:
    """Measure every card now and keep the figures; a card that can't be measured says why."""
    try:
        timed = msgspec.json.decode(await output_of(program, environment, TIMEOUT_S), type=list[Timed])
    except ProgramFailed as failure:
        return [Rates(trouble=f"not measured: {failure}") for _card in cards]
    outcomes = zip_longest(_circumstances(cards, driver), timed[: len(cards)], fillvalue=None)
    return [_kept(cache, circumstances, outcome, now_s) for circumstances, outcome in outcomes if circumstances]


def _kept(cache: Path, circumstances: Circumstances, timed: Timed | None, now_s: float) -> Rates:
    if timed is None:
        return Rates(trouble="not measured: torch does not see this card")
    if timed.rates is None:
        return Rates(trouble=f"not measured: {timed.trouble}")
    keep(cache, circumstances, timed.rates, now_s)
    return Rates(timed.rates, now_s, "")


def _circumstances(cards: Sequence[Card], driver: str) -> list[Circumstances]:
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = ""
    return [Circumstances(card.uuid, driver, torch) for card in cards]
