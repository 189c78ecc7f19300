"""Which GPUs there are: virtual ones from the file, else the machine's NVIDIA cards, else two virtual ones in host RAM; and
which of them the environment leaves visible. Hiding gpu0 does not rename gpu1: virtual GPUs keep the names that they have in the
file, cards those of the inventory. A lost card is a GPU like the others, on which nothing can be placed for now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, takewhile
from typing import Final

from msgspec import Struct

from engine.core.names import DeviceId
from engine.core.sizes import MIB
from engine.devices.cards import GpuFacts
from engine.devices.inventory import Card, Inventory
from engine.devices.visible import VISIBLE, visible
from engine.settings.environment import Environment
from engine.settings.problems import Place, Problem, given
from engine.settings.schema import DEFAULT_GPUS, RAM, CardSpec, VirtualGpu

_STOP: Final = "-1"
"""Where CUDA stops to read the list, by its own documentation."""


def usable_cards(inventory: Inventory) -> dict[int, CardSpec]:
    """Those that can run models, by number: not a card in MIG mode, whose MIG devices do, nor one whose memory nobody knows."""
    specs = (_card_spec(card) for card in inventory.cards if not card.facts.is_partitioned)
    return {spec.ordinal: spec for spec in sorted(filter(None, specs), key=lambda spec: spec.ordinal)}


def _card_spec(card: Card) -> CardSpec | None:
    facts = card.facts
    if card.number is None or not facts.total_bytes:
        return None
    size_bytes = facts.total_bytes - (facts.reserved_bytes or 0)
    lost_since_s = None if card.is_here else card.seen_s
    return CardSpec(facts.uuid, facts.name, size_bytes, card.number, facts.capability, facts.bus_id, lost_since_s)


def useless_cards(facts: Sequence[GpuFacts]) -> Iterator[str]:
    """A warning for each card that can't run models, and that no MIG device of it stands in for."""
    parents = {card.parent_uuid for card in facts}
    for card in facts:
        name = f"{card.name} ({card.uuid})"
        if card.is_partitioned and card.uuid not in parents:
            yield f"{name} is in MIG mode without a MIG device and runs no model; make one, or switch MIG mode off"
        elif not card.is_partitioned and not card.total_bytes:
            yield f"{name} does not tell how much memory it has; it is not used"


def wrong_choice(inventory: Inventory, environment: Environment) -> Iterator[Problem]:
    """CUDA_VISIBLE_DEVICES with a word that names no card, or with words that don't go together."""
    text, facts = environment.visible_devices, inventory.facts
    if text is None or not usable_cards(inventory):
        return
    words = takewhile(lambda word: word.strip() != _STOP, text.split(","))
    named = [visible(facts, word) for word in words]
    if not all(named) or visible(facts, text) != tuple(chain(*named)):
        yield Problem(environment.place(VISIBLE), given(text), _choices(facts))


def _choices(facts: Sequence[GpuFacts]) -> str:
    whole = [card for card in facts if not card.is_mig]
    mig = ", ".join(card.uuid for card in facts if card.is_mig)
    choices = [
        ", ".join(str(place) for place, card in enumerate(whole) if not card.is_partitioned),
        ", ".join(card.uuid for card in whole if not card.is_partitioned),
    ]
    lists = "; or ".join([*filter(None, choices), *([f"one alone of {mig}"] if mig else [])])
    return f"{lists}; each at most once, with commas and no spaces between; empty for no GPU"


def wrong_slices(slices: Mapping[DeviceId, VirtualGpu], cards: Mapping[int, CardSpec], at: Place) -> Iterator[Problem]:
    """Slices of cards that were never there, and cards that are smaller than their slices together."""
    backings = ", ".join([RAM, *(card.backing for card in cards.values())])
    for index, gpu in enumerate(slices.values()):
        if gpu.ordinal is not None and gpu.ordinal not in cards:
            what = f"{given(gpu.backing)}, but {_how_many(cards)}"
            hint = "" if cards else "citadel doctor says what is missing"
            yield Problem(at.item(index).child("backing"), what, backings, hint)
    for card in cards.values():
        wanted = {name: gpu.memory_bytes for name, gpu in slices.items() if gpu.ordinal == card.ordinal}
        if sum(wanted.values()) > card.memory_bytes:
            yield _too_large(card, wanted, at)


def _too_large(card: CardSpec, wanted: Mapping[DeviceId, int], at: Place) -> Problem:
    wanted_mib, has_mib = -(-sum(wanted.values()) // MIB), card.memory_bytes // MIB
    what = f"{', '.join(wanted)} take {wanted_mib} MiB of {card.backing} together"
    allowed = f"at most {has_mib} MiB, which is all that {card.title} has for models"
    return Problem(at, what, allowed, f"{has_mib // len(wanted)}MiB each would fit")


def _how_many(cards: Mapping[int, CardSpec]) -> str:
    if not cards:
        return "no NVIDIA driver was found, or it shows no card that can run models"
    return f"only {len(cards)} NVIDIA {'card' if len(cards) == 1 else 'cards'} here can run models"


class Gpus(Struct, frozen=True):
    """The GPUs of a configuration on a machine."""

    visible: Mapping[DeviceId, VirtualGpu | CardSpec] = {}
    names: tuple[DeviceId, ...] | None = None
    """Those that the catalog may name, hidden ones included; None when nobody can tell."""
    warnings: tuple[str, ...] = ()


UNKNOWN_GPUS: Final = Gpus()


def find_gpus(
    virtual: Sequence[VirtualGpu] | None,
    environment: Environment,
    inventory: Inventory,
    at: Place,
    problems: list[Problem],
) -> Gpus:
    """What the file, the environment and the cards make together; what is wrong is added to `problems`.

    `virtual`: what stands in the file, at `at`; None when it is left out there.
    """
    if environment.hides_all_gpus:
        # It must help on a machine whose driver is broken, too: there the cards can't be counted, nor slices be checked.
        return Gpus(names=None if virtual is None else tuple(_named(virtual)))
    cards = usable_cards(inventory)
    if virtual is None and cards:
        return _whole_cards(environment, inventory, problems)
    named = _named(DEFAULT_GPUS if virtual is None else virtual)
    if any(gpu.ordinal is not None for gpu in named.values()):
        problems += wrong_slices(named, cards, at)
        return _slices(named, environment, inventory, problems)
    warnings = tuple(useless_cards(inventory.facts)) if virtual is None else ()
    return Gpus(_chosen_by_index(named, environment, problems), tuple(named), warnings)


def _named(virtual: Sequence[VirtualGpu]) -> dict[DeviceId, VirtualGpu]:
    return {f"gpu{index}": gpu for index, gpu in enumerate(virtual)}


def _whole_cards(environment: Environment, inventory: Inventory, problems: list[Problem]) -> Gpus:
    problems += wrong_choice(inventory, environment)
    selected = selected_cards(inventory, environment.visible_devices)
    shown = {f"gpu{n}": card for n, card in usable_cards(inventory).items() if card.uuid in selected}
    names = tuple(card.name for card in inventory.cards if card.name)
    return Gpus(shown, names, tuple(useless_cards(inventory.facts)))


def selected_cards(inventory: Inventory, text: str | None) -> set[str]:
    """UUIDs of the cards that CUDA would show, were all that are lost there. `text`: CUDA_VISIBLE_DEVICES; None when it is not
    set."""
    shown = visible(inventory.facts, text)
    uuids = {card.uuid for card in shown}
    if not (text or "").startswith("MIG-"):
        # Of a card in MIG mode CUDA shows the first device that is there: the one before it that is lost was shown, too.
        firsts = {
            card.parent_uuid: inventory.cards[inventory.facts.index(card)].number for card in shown if card.is_mig
        }
        uuids |= {card.facts.uuid for card in inventory.lost if _is_before(card, firsts)}
    return uuids


def _is_before(lost: Card, firsts: Mapping[str | None, int | None]) -> bool:
    first, number = firsts.get(lost.facts.parent_uuid), lost.number
    return first is not None and number is not None and number < first


def _slices(
    named: Mapping[DeviceId, VirtualGpu], environment: Environment, inventory: Inventory, problems: list[Problem]
) -> Gpus:
    """The environment selects cards, and hides the slices of the others. Slices of host RAM, which are on no card, stay."""
    problems += wrong_choice(inventory, environment)
    text = environment.visible_devices
    selected = {card.uuid for card in inventory.facts} if text is None else selected_cards(inventory, text)
    reachable = {None, *(n for n, card in usable_cards(inventory).items() if card.uuid in selected)}
    left = {name: gpu for name, gpu in named.items() if gpu.ordinal in reachable}
    return Gpus(left, tuple(named), tuple(useless_cards(inventory.facts)))


def _chosen_by_index(
    named: Mapping[DeviceId, VirtualGpu], environment: Environment, problems: list[Problem]
) -> dict[DeviceId, VirtualGpu]:
    """Those that CUDA_VISIBLE_DEVICES selects by their place in the file, in that order."""
    text = environment.visible_devices
    if text is None:
        return dict(named)
    indices = [part.strip() for part in text.strip().split(",")]
    by_index = {str(index): gpu for index, gpu in enumerate(named)}
    if len(set(indices)) < len(indices) or not by_index.keys() >= set(indices):
        allowed = f"{', '.join(by_index)}, each at most once and with commas between; empty for no GPU"
        hint = "these are virtual GPUs in host RAM; no NVIDIA card is in use"
        problems.append(Problem(environment.place(VISIBLE), given(text.strip()), allowed, hint))
        return {}
    return {name: named[name] for index, name in by_index.items() if index in indices}
