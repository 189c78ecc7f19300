"""CUDA_VISIBLE_DEVICES: which of the driver's cards CUDA shows to a process, in CUDA's order. Cards are matched by UUID.

The variable's grammar is CUDA's own, and as odd: what it can't resolve ends the list, what it names twice empties it. Plain
numbers count cards in the order of the PCI bus, which is CUDA's only with CUDA_DEVICE_ORDER=PCI_BUS_ID: processes that are to
agree with this must be started with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from engine.devices.cards import GpuFacts

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def visible(facts: Sequence[GpuFacts], cuda_visible_devices: str | None) -> tuple[GpuFacts, ...]:
    """Of the cards in `facts`, which are in the order of the PCI bus, those that CUDA shows, in its order. None: the variable is
    not set."""
    cards = [card for card in facts if not card.is_mig]
    if cuda_visible_devices is None:
        named = cards
    elif cuda_visible_devices.startswith("GPU-"):
        named = list(_by_uuid(cards, cuda_visible_devices, "GPU-"))
    elif cuda_visible_devices.startswith("MIG-"):
        named = list(_by_uuid([part for part in facts if part.is_mig], cuda_visible_devices, "MIG-"))
    else:
        named = list(_by_number(cards, cuda_visible_devices))
    if len({card.uuid for card in named}) < len(named):
        return ()
    return _as_cuda_enumerates(facts, named)


def _by_uuid(among: Sequence[GpuFacts], text: str, kind: str) -> Iterator[GpuFacts]:
    for beginning in text.split(","):
        matching = [card for card in among if card.uuid.startswith(beginning)]
        if not beginning.startswith(kind) or len(matching) != 1:
            return
        yield matching[0]


def _by_number(cards: Sequence[GpuFacts], text: str) -> Iterator[GpuFacts]:
    for word in text.split(","):
        number = re.match(r"\s*\+?(\d+)", word)  # as strtoul reads it: "1st" is 1
        if number is None or int(number[1]) >= len(cards):
            return
        yield cards[int(number[1])]


def _as_cuda_enumerates(facts: Sequence[GpuFacts], named: Sequence[GpuFacts]) -> tuple[GpuFacts, ...]:
    """A process sees either whole cards or one MIG device, the first, and then no card beside it (NVIDIA's MIG user guide)."""
    for card in named:
        if card.is_mig:
            return (card,)
        if card.is_partitioned:
            parts = [part for part in facts if part.parent_uuid == card.uuid]
            if parts:
                return (parts[0],)
    return tuple(card for card in named if not card.is_partitioned)
