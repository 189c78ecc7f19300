"""What the configuration counts on against what the cards and the host have."""

from __future__ import annotations

from collections.abc import Iterator

from engine.core.sizes import GIB, format_size
from engine.doctor.finding import Finding
from engine.doctor.machine import Card, Machine, Slice

_RETAIL_GT_1030_BYTES = 2 * GIB


def check_config(machine: Machine) -> Iterator[Finding]:
    config = machine.config
    if config.trouble:
        means = "The engine does not start with it."
        yield Finding("config", "problem", config.trouble, means, "Mend what is named, then run `citadel doctor` again")
    elif config.warnings:
        yield Finding("config", "warning", "; ".join(config.warnings))
    else:
        yield Finding("config", "ok", f"the configuration in {config.folder} is sound")


def check_card_memory(machine: Machine) -> Iterator[Finding]:
    """Slices that exceed their card are not judged here: the configuration is refused for them."""
    for card in machine.cards:
        yield _card(card, [s for s in machine.config.slices if s.card_uuid == card.uuid])


def _card(card: Card, slices: list[Slice]) -> Finding:
    check = f"{card.id}.memory"
    if card.total_bytes is None:
        return Finding(check, "warning", "the driver does not tell how much memory the card has", "It is not used.")
    sliced = format_size(sum(s.memory_bytes for s in slices))
    use = f"{sliced} of it in {len(slices)} {'slice' if len(slices) == 1 else 'slices'}" if slices else "not sliced"
    is_retail = "GT 1030" in card.name and card.total_bytes <= _RETAIL_GT_1030_BYTES
    means = "A GT 1030 as sold has 2 GB, whatever a plan for 6 says." if is_retail else ""
    return Finding(check, "ok", f"{format_size(card.total_bytes)} in total, {use}", means)
