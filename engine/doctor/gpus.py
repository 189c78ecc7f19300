"""What each GPU here can do, as a versioned report: the cards as the driver and earlier measurements know them, and the
virtual GPUs of the configuration, which are never mixed up with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from engine.core.devices import Health
from engine.doctor.copy_rates import CopyRates
from engine.doctor.fast_dtypes import fast_dtypes
from engine.doctor.machine import Card, Config, PcieLink

VERSION: Final = 1


class Rates(Struct, frozen=True):
    """Measured copy rates of a card and their age, or why there are none."""

    rates: CopyRates | None = None
    measured_at_s: float | None = None
    trouble: str = "not measured"


class CardReport(Struct, frozen=True):
    device: str
    name: str
    uuid: str
    health: Health
    reason: str
    total_bytes: int | None
    capability: str | None
    """Such as 6.1; None when the driver does not tell it."""
    fast_dtypes: tuple[str, ...]
    pcie: PcieLink
    copying: Rates


class VirtualReport(Struct, frozen=True):
    """A slice of memory that plays a GPU."""

    device: str
    backing: str
    total_bytes: int


class GpusReport(Struct, frozen=True):
    version: int
    driver: str
    """Its version, or why there is none."""
    cards: tuple[CardReport, ...]
    hidden_cards: int
    """Cards that CUDA_VISIBLE_DEVICES hides."""
    virtual: tuple[VirtualReport, ...]
    config_trouble: str
    """Why the virtual GPUs are not known; empty when they are."""


def card_report(card: Card, copying: Rates) -> CardReport:
    return CardReport(
        device=card.id,
        name=card.name,
        uuid=card.uuid,
        health=card.health,
        reason=card.reason,
        total_bytes=card.total_bytes,
        capability=".".join(map(str, card.capability)) if card.capability else None,
        fast_dtypes=fast_dtypes(card.capability) if card.capability else (),
        pcie=card.pcie,
        copying=copying,
    )


def virtual_reports(config: Config) -> Iterable[VirtualReport]:
    return (VirtualReport(each.device, each.backing, each.memory_bytes) for each in config.slices)
