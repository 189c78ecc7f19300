"""Lists the GPUs: surveys the machine, adds the copy rates on record or measures them anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.doctor.gather import Survey, environment_for_torch, survey
from engine.doctor.gpus import VERSION, GpusReport, Rates, card_report, virtual_reports
from engine.doctor.measuring import measured, recalled


async def list_gpus(
    argument: Path | None, environment: Mapping[str, str], cwd: Path, cache: Path, measure_at_s: float | None
) -> GpusReport:
    """`measure_at_s` is the time to write on new measurements; None takes those on record."""
    found = await survey(argument, environment, cwd)
    driver = found.driver.version or "unknown"
    copying: list[Rates] = recalled(found.cards, driver, cache)
    if measure_at_s is not None and found.cards:
        for_torch = environment_for_torch(environment, found.config)
        copying = await measured(found.cards, driver, cache, for_torch, measure_at_s)
    return GpusReport(
        version=VERSION,
        driver=_driver(found),
        cards=tuple(card_report(card, rates) for card, rates in zip(found.cards, copying, strict=True)),
        hidden_cards=found.hidden_cards,
        virtual=tuple(virtual_reports(found.config)),
        config_trouble=found.config.trouble,
    )


def _driver(found: Survey) -> str:
    if found.driver.state == "ok":
        return f"driver {found.driver.version or 'of unknown version'}"
    return found.driver.words
