"""Which GPUs there are: virtual ones from the file, else the machine's NVIDIA cards, else two virtual ones in host RAM; and
which of them the environment leaves visible. Virtual GPUs keep the names that they have in the file: hiding gpu0 does not
rename gpu1. Cards are numbered as CUDA numbers what it shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from engine.core.names import DeviceId
from engine.devices.cards import GpuFacts
from engine.devices.visible import visible
from engine.settings.cards import shown_cards, usable_cards, useless_cards, wrong_choice, wrong_slices
from engine.settings.environment import VISIBLE, Environment
from engine.settings.problems import Place, Problem, given
from engine.settings.schema import DEFAULT_GPUS, Card, VirtualGpu


class Gpus(Struct, frozen=True):
    """The GPUs of a configuration on a machine."""

    visible: Mapping[DeviceId, VirtualGpu | Card] = {}
    names: tuple[DeviceId, ...] | None = None
    """Those that the catalog may name, hidden ones included; None when nobody can tell."""
    warnings: tuple[str, ...] = ()


UNKNOWN_GPUS: Final = Gpus()


def find_gpus(
    virtual: Sequence[VirtualGpu] | None,
    environment: Environment,
    facts: Sequence[GpuFacts],
    at: Place,
    problems: list[Problem],
) -> Gpus:
    """What the file, the environment and the cards make together; what is wrong is added to `problems`.

    `virtual`: what stands in the file, at `at`; None when it is left out there.
    """
    if environment.hides_all_gpus:
        # It must help on a machine whose driver is broken, too: there the cards can't be counted, nor slices be checked.
        return Gpus(names=None if virtual is None else tuple(_named(virtual)))
    if virtual is None and usable_cards(facts):
        return _whole_cards(environment, facts, problems)
    named = _named(DEFAULT_GPUS if virtual is None else virtual)
    if any(gpu.ordinal is not None for gpu in named.values()):
        problems += wrong_slices(named, usable_cards(facts), at)
        return _slices(named, environment, facts, problems)
    warnings = tuple(useless_cards(facts)) if virtual is None else ()
    return Gpus(_chosen_by_index(named, environment, problems), tuple(named), warnings)


def _named(virtual: Sequence[VirtualGpu]) -> dict[DeviceId, VirtualGpu]:
    return {f"gpu{index}": gpu for index, gpu in enumerate(virtual)}


def _whole_cards(environment: Environment, facts: Sequence[GpuFacts], problems: list[Problem]) -> Gpus:
    problems += wrong_choice(facts, environment)
    shown = shown_cards(facts, environment.visible_devices)
    names = shown_cards(facts, None) | shown
    return Gpus(shown, tuple(names), tuple(useless_cards(facts)))


def _slices(
    named: Mapping[DeviceId, VirtualGpu], environment: Environment, facts: Sequence[GpuFacts], problems: list[Problem]
) -> Gpus:
    """The environment selects cards, and hides the slices of the others. Slices of host RAM, which are on no card, stay."""
    problems += wrong_choice(facts, environment)
    text = environment.visible_devices
    selected = {card.uuid for card in (facts if text is None else visible(facts, text))}
    reachable = {None, *(card.ordinal for card in usable_cards(facts) if card.uuid in selected)}
    left = {name: gpu for name, gpu in named.items() if gpu.ordinal in reachable}
    return Gpus(left, tuple(named), tuple(useless_cards(facts)))


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
