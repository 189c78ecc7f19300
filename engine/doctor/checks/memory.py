"""What the configuration counts on against what the cards and the host have."""

from __future__ import annotations

from collections.abc import Iterator

from engine.core.sizes import GIB, MIB, format_size
from engine.doctor.finding import Finding
from engine.doctor.machine import Card, Machine, Slice

_RETAIL_GT_1030_BYTES = 2 * GIB


def check_config(machine: Machine) -> Iterator[Finding]:
    config = machine.config
    unknown = sorted({s.backing for s in config.slices if s.backing.startswith("cuda:")} - _backings(machine))
    if config.trouble:
        means = "The engine does not start with it."
        yield Finding("config", "problem", config.trouble, means, "Mend what is named, then run `citadel doctor` again")
    elif unknown and machine.cards:
        found = f"slices lie on {', '.join(unknown)}; the visible cards are {', '.join(sorted(_backings(machine)))}"
        fix = "Name visible cards in devices.virtual of gpu_allocation.yaml"
        yield Finding("config", "problem", found, "These slices can't be made.", fix)
    elif config.warnings:
        yield Finding("config", "warning", "; ".join(config.warnings))
    else:
        yield Finding("config", "ok", f"the configuration in {config.folder} is sound")


def check_card_memory(machine: Machine) -> Iterator[Finding]:
    for card in machine.cards:
        yield _card(card, [s for s in machine.config.slices if s.backing == _backing(card)])


def _card(card: Card, slices: list[Slice]) -> Finding:
    check = f"{card.id}.memory"
    if card.total_bytes is None:
        return Finding(check, "warning", "the driver does not tell how much memory the card has")
    has = format_size(card.total_bytes)
    wanted_bytes = sum(s.memory_bytes for s in slices)
    if not slices:
        return Finding(check, "ok", f"{has} in total; the configuration names no figure of its own")
    if wanted_bytes <= card.total_bytes:
        return Finding(check, "ok", f"{has} in total, {format_size(wanted_bytes)} of it in {len(slices)} slices")
    found = f"{has} in total, but the configuration counts on {format_size(wanted_bytes)}"
    means = "Models planned for the missing memory would fail."
    if "GT 1030" in card.name and card.total_bytes <= _RETAIL_GT_1030_BYTES:
        means += " A GT 1030 as sold has 2 GB, whatever a plan for 6 says."
    each_mib = card.total_bytes // MIB // len(slices)
    line = f'{{memory: {each_mib}MiB, backing: "{_backing(card)}"}}'
    fix = f"In gpu_allocation.yaml, under devices.virtual, write for {', '.join(s.device for s in slices)}: `- {line}`"
    return Finding(check, "problem", found, means, fix)


def _backing(card: Card) -> str:
    return f"cuda:{card.ordinal}"


def _backings(machine: Machine) -> set[str]:
    return {_backing(card) for card in machine.cards}
