"""What each GPU here can do, as a versioned report: the cards as the driver and earlier measurements know them, and the
virtual GPUs of the configuration, which are never mixed up with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.api import EngineError
from engine.core.devices import Health
from engine.core.serialization import Undecodable, from_json
from engine.devices.inventory import forgotten, read_inventory, write_inventory
from engine.doctor.gather import Survey, environment_for_torch, listed_cards, survey
from engine.doctor.gathering.torch import ProgramFailed, output_of
from engine.doctor.machine import CardFacts, Config, PcieLink
from engine.doctor.tables import fast_dtypes
from engine.libraries import torch_version
from engine.paths import Paths
from engine.recording.copy_rates import Circumstances, CopyRates, Timed, keep_rates, recall

LISTING_VERSION: Final = 1


class CardRates(Struct, frozen=True):
    """Measured copy rates of a card and their age, or why there are none."""

    rates: CopyRates | None = None
    measured_at_s: float | None = None
    trouble: str = "not measured"


class CardReport(Struct, frozen=True):
    device: str
    """The name that the card keeps."""
    name: str
    uuid: str
    bus_id: str | None
    health: Health
    reason: str
    lost_since_s: float | None
    """When it was last known to be there, seconds since the epoch; None when the driver lists it."""
    total_bytes: int | None
    capability: str | None
    """Such as 6.1; None when the driver does not tell it."""
    fast_dtypes: tuple[str, ...]
    pcie: PcieLink
    copying: CardRates


class VirtualReport(Struct, frozen=True):
    """A slice of memory that plays a GPU."""

    device: str
    backing: str
    total_bytes: int


class GpusReport(Struct, frozen=True):
    version: int
    driver: str
    """Its version, or why there is none."""
    expects_no_card: bool
    """Whether nothing hints at an NVIDIA card, so that none is missed."""
    cards: tuple[CardReport, ...]
    hidden_cards: int
    """Cards and MIG devices that CUDA does not show: CUDA_VISIBLE_DEVICES hides them, or a MIG device is shown, always alone."""
    virtual: tuple[VirtualReport, ...]
    config_trouble: str
    """Why the virtual GPUs are not known; empty when they are."""
    silent_cards: tuple[str, ...]
    """Cards that the driver counts, that do not answer and that were never seen before, and why."""
    names_trouble: str
    """Why nobody knows which card had which name; empty when that is known, or there is nothing to know yet."""


def card_report(card: CardFacts, copying: CardRates) -> CardReport:
    return CardReport(
        device=card.id,
        name=card.name,
        uuid=card.uuid,
        bus_id=card.bus_id,
        health=card.health,
        reason=card.reason,
        lost_since_s=card.lost_since_s,
        total_bytes=card.total_bytes,
        capability=".".join(map(str, card.capability)) if card.capability else None,
        fast_dtypes=fast_dtypes(card.capability) if card.capability else (),
        pcie=card.pcie,
        copying=copying,
    )


def virtual_reports(config: Config) -> Iterable[VirtualReport]:
    return (VirtualReport(each.device, each.backing, each.memory_bytes) for each in config.slices)


_TIMEOUT_S: Final = 120.0
PROGRAM: Final = "engine.doctor.programs.copy_rates"


def recalled(cards: Sequence[CardFacts], driver: str, cache: Path) -> list[CardRates]:
    """Of each card what was measured with this driver and this torch."""
    kept = [recall(cache, circumstances) for circumstances in _circumstances(cards, driver)]
    return [CardRates(found.rates, found.measured_at_s, "") if found else CardRates() for found in kept]


async def measured(
    cards: Sequence[CardFacts],
    driver: str,
    cache: Path,
    environment: Mapping[str, str],
    now_s: float,
    program: str = PROGRAM,
) -> list[CardRates]:
    """Measure every card now and keep the figures; a card that can't be measured says why."""
    try:
        timed = from_json(await output_of(program, environment, _TIMEOUT_S), list[Timed])
    except (ProgramFailed, Undecodable) as failure:
        return [CardRates(trouble=f"not measured: {failure}") for _card in cards]
    outcomes = zip_longest(_circumstances(cards, driver), timed[: len(cards)], fillvalue=None)
    return [_kept(cache, circumstances, outcome, now_s) for circumstances, outcome in outcomes if circumstances]


def _kept(cache: Path, circumstances: Circumstances, timed: Timed | None, now_s: float) -> CardRates:
    if timed is None:
        return CardRates(trouble="not measured: torch does not see this card")
    if timed.rates is None:
        return CardRates(trouble=f"not measured: {timed.trouble}")
    keep_rates(cache, circumstances, timed.rates, now_s)
    return CardRates(timed.rates, now_s, "")


def _circumstances(cards: Sequence[CardFacts], driver: str) -> list[Circumstances]:
    return [Circumstances(card.uuid, driver, torch_version()) for card in cards]


async def list_gpus(
    argument: Path | None, environment: Mapping[str, str], cwd: Path, paths: Paths, measure_at_s: float | None
) -> GpusReport:
    """`measure_at_s` is the time to write on new measurements; None takes those on record."""
    found = await survey(argument, environment, cwd, paths)
    driver = found.driver.version or "unknown"
    copying = dict(zip(found.cards, recalled(found.cards, driver, paths.cache), strict=True))
    here = [card for card in found.cards if card.lost_since_s is None]
    if measure_at_s is not None and here:
        for_torch = environment_for_torch(environment, found)
        copying |= zip(here, await measured(here, driver, paths.cache, for_torch, measure_at_s), strict=True)
    return GpusReport(
        version=LISTING_VERSION,
        driver=_driver(found),
        expects_no_card=found.driver.expects_no_card,
        cards=tuple(card_report(card, rates) for card, rates in copying.items()),
        hidden_cards=found.hidden_cards,
        virtual=tuple(virtual_reports(found.config)),
        config_trouble=found.config.trouble,
        silent_cards=found.unnamed_cards,
        names_trouble=found.names_trouble,
    )


class Forgotten(Struct, frozen=True):
    """A card that has no name any more."""

    device: str
    name: str
    uuid: str
    was_here: bool
    """Whether the driver lists it, so that it gets a name again."""


async def forget_cards(names: Sequence[str], paths: Paths) -> tuple[Forgotten, ...]:
    """Have these cards, by name or UUID, forgotten; all others keep their names. Raises EngineError; nothing has changed then."""
    known, trouble = read_inventory(paths.cards)
    if trouble:
        raise EngineError(
            f"{paths.cards} can't be read ({trouble}); nothing was forgotten. An engine that starts puts it aside"
        )
    named = {name: known.find(name) for name in names}
    cards = [card for card in named.values() if card is not None]
    if unknown := [name for name, card in named.items() if card is None]:
        names_known = ", ".join(card.name for card in known.cards if card.name) or "none"
        raise EngineError(
            f"no card is known as {', '.join(unknown)}; those known are {names_known}; nothing was forgotten"
        )
    here = {facts.uuid for facts in await listed_cards()}
    try:
        write_inventory(paths.cards, forgotten(known, {card.facts.uuid for card in cards}))
    except OSError as error:
        raise EngineError(f"{paths.cards} can't be written: {error.strerror}; nothing was forgotten") from None
    return tuple(
        Forgotten(card.name or card.facts.uuid, card.facts.name, card.facts.uuid, card.facts.uuid in here)
        for card in cards
    )


def _driver(found: Survey) -> str:
    if found.driver.state == "ok":
        return f"driver {found.driver.version or 'of unknown version'}"
    return found.driver.words
