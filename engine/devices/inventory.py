"""The cards of this machine that were ever seen, each with the number that it keeps: gpu2 is the same card after a restart.

A card is its UUID; where it sits and how the driver counts it may change. The first are numbered in the order of the PCI bus, one
that comes later gets the smallest number that is free. A card that does not answer keeps its number until somebody has it
forgotten: nobody can tell a card that was taken out from one that has only fallen off the bus, nor a replacement from another
card, and what is kept by a name (pins, the journal, figures of benchmarks) must never come to speak of another card by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct
from msgspec.structs import replace

from engine.core.names import DeviceId
from engine.core.serialization import Undecodable, from_sealed_json, to_sealed_json
from engine.devices.cards import GpuFacts
from engine.devices.troubles import Library
from engine.paths import Paths
from engine.recording.memory import last_read
from engine.whole_file import read_whole, write_whole

_VERSION: Final = 1
_MOST_BYTES: Final = 1 << 20


class Card(Struct, frozen=True):
    """A card or a MIG device that was ever seen here."""

    facts: GpuFacts
    """As the driver described it last."""
    seen_s: float
    """When it was last known to be there, seconds since the epoch."""
    number: Annotated[int, Meta(ge=0, lt=1000)] | None = None
    """N of gpuN and of cuda:N. None: a card that was only ever seen in MIG mode, where it runs no model itself."""
    is_here: bool = True
    """Whether the driver listed it when it was last looked for."""

    @property
    def name(self) -> DeviceId | None:
        return None if self.number is None else f"gpu{self.number}"


class Inventory(Struct, frozen=True):
    """All cards, in the order of the PCI bus, each before its MIG devices."""

    cards: tuple[Card, ...] = ()

    @property
    def facts(self) -> tuple[GpuFacts, ...]:
        return tuple(card.facts for card in self.cards)

    @property
    def lost(self) -> tuple[Card, ...]:
        """Those that had a number and are not there. The devices of a card in MIG mode may come and go with its mode."""
        return tuple(card for card in self.cards if card.number is not None and not card.is_here)

    def find(self, name: str) -> Card | None:
        """The card of that name or UUID."""
        return next((card for card in self.cards if name in (card.name, card.facts.uuid)), None)


NO_CARDS: Final = Inventory()


def met(known: Inventory, found: Sequence[GpuFacts], now_s: float) -> Inventory:
    """What is known once the driver has listed `found`, in whatever order it did."""
    before = {card.facts.uuid: card for card in known.cards}
    here = [_again(facts, before.pop(facts.uuid, None), now_s) for facts in found]
    lost = [replace(card, is_here=False) for card in before.values()]
    taken = {card.number for card in (*here, *lost)}
    free = (number for number in count() if number not in taken)
    return Inventory(tuple(_numbered(card, free) for card in _along_the_bus(here, lost)))


def unnamed_cards(library: Library, inventory: Inventory) -> tuple[str, ...]:
    """Cards that the driver counts, that do not answer and that were never seen before: there is no row for them. And why."""
    silent = {card.facts.parent_uuid or card.facts.uuid for card in inventory.lost}
    return library.silent_cards[len(silent) :]


def forgotten(known: Inventory, uuids: Collection[str]) -> Inventory:
    """`known` without those cards: their numbers are free, and one that is seen again is a new card."""
    return Inventory(tuple(card for card in known.cards if card.facts.uuid not in uuids))


def _again(facts: GpuFacts, before: Card | None, now_s: float) -> Card:
    if before is None:
        return Card(facts, now_s)
    if facts.total_bytes is None:  # it is there and ails: what it was like is known
        sizes = before.facts.total_bytes, before.facts.reserved_bytes
        facts = replace(facts, total_bytes=sizes[0], reserved_bytes=sizes[1])
    capability = facts.capability or before.facts.capability
    return replace(before, facts=replace(facts, capability=capability), seen_s=now_s, is_here=True)


def _along_the_bus(here: Sequence[Card], lost: Sequence[Card]) -> list[Card]:
    """A lost card keeps its place among the others, so that CUDA_VISIBLE_DEVICES=2 means the same card while another is away;
    where a new card has taken its place, it comes last."""
    slots = {card.facts.bus_id for card in here if not card.facts.is_mig} - {None}

    def place(card: Card) -> tuple[bool, bool, str, int, bool]:
        facts = card.facts
        is_replaced = not card.is_here and not facts.is_mig and facts.bus_id in slots
        return is_replaced, facts.bus_id is None, facts.bus_id or "", facts.index, facts.is_mig

    return sorted((*here, *lost), key=place)


def _numbered(card: Card, free: Iterator[int]) -> Card:
    return card if card.number is not None or card.facts.is_partitioned else replace(card, number=next(free))


# ── kept over restarts ───────────────────────────────────────────────────────────────────────────


class _File(Struct, frozen=True, omit_defaults=True):
    version: int
    cards: tuple[Card, ...] = ()


class Recollection(NamedTuple):
    """What the file says."""

    inventory: Inventory
    trouble: str = ""
    """Why it can't be understood; nothing is known from it then."""


def take_inventory(paths: Paths, found: Sequence[GpuFacts], now_s: float) -> Recollection:
    """What is known of cards now that the driver lists `found`. Writes nothing, never raises; may block for as long as a file
    system does."""
    known = read_inventory(paths.cards)
    inventory = met(known.inventory, found, now_s)
    if inventory.lost:
        # The file says when an engine last began with the card; what engines have recorded says for how long they read it.
        read_s = last_read(paths.memory)
        inventory = Inventory(tuple(_seen(card, read_s.get(card.facts.uuid, 0.0)) for card in inventory.cards))
    return Recollection(inventory, known.trouble)


def _seen(card: Card, read_s: float) -> Card:
    return card if card.is_here else replace(card, seen_s=max(card.seen_s, read_s))


def read_inventory(path: Path) -> Recollection:
    """What was kept. Never raises."""
    try:
        found: _File = from_sealed_json(read_whole(path, _MOST_BYTES), _File)
    except FileNotFoundError:
        return Recollection(NO_CARDS)
    except (OSError, Undecodable) as error:
        return Recollection(NO_CARDS, str(error))
    if found.version != _VERSION:
        return Recollection(NO_CARDS, f"it is of version {found.version}, not {_VERSION}")
    names = [card.facts.uuid for card in found.cards] + [card.name for card in found.cards if card.name]
    if twice := next((name for name in names if names.count(name) > 1), None):
        return Recollection(NO_CARDS, f"{twice} is in it twice")
    return Recollection(Inventory(found.cards))


def write_inventory(path: Path, inventory: Inventory) -> None:
    """Raises OSError."""
    write_whole(path, to_sealed_json(_File(_VERSION, inventory.cards)))
