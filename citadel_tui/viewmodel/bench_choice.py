"""What the operator chooses for a benchmark: a list to tick, and what the ticks amount to."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from msgspec import Struct
from msgspec.structs import replace

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.spans import Line, Span, cut, left
from engine.bench.choosing import Chosen, gpus_of
from engine.bench.measure import Protocol
from engine.bench.records import FromTier
from engine.core.names import ModelName
from engine.core.state import State

Group: TypeAlias = Literal["models", "pairs", "devices", "from", "repeats"]
REPEATS: Final = (3, 5, 7, 15, 31)
WARM_UP: Final = 1
PAIRS: Final = "every model out for every other"
_LABEL: Final = 10
_TIERS: Final[dict[FromTier, str]] = {
    "ram": "the RAM tier",
    "page-cache": "a file cached by Linux",
    "disk": "a file read from disk",
    "resident": "no load, one request",
}


class Item(NamedTuple):
    """A line of the list."""

    group: Group
    name: str


class Choice(Struct, frozen=True):
    """The list with its ticks."""

    items: tuple[Item, ...]
    ticked: frozenset[Item]
    synthetic: frozenset[ModelName]
    repeats: int = 7

    @property
    def what(self) -> Chosen:
        """What is to be measured."""
        tiers = tuple(tier for tier in get_args(FromTier) if Item("from", tier) in self.ticked)
        return Chosen(self._ticked("models"), self._ticked("devices"), tiers, self._in_pairs)

    @property
    def how(self) -> Protocol:
        return Protocol(self.repeats, WARM_UP)

    @property
    def missing(self) -> str:
        """What must be ticked yet, in words; empty when it can begin."""
        wanted: tuple[tuple[Group, str], ...] = (
            ("models", "a model"),
            ("devices", "a device"),
            ("from", "where loads start from"),
        )
        missing = next((f"tick {what}" for group, what in wanted if not self._ticked(group)), "")
        return missing or ("tick a second model: a pair takes two" if not self.what.subjects else "")

    def turned(self, item: Item) -> Choice:
        """With the tick of `item` set or taken away."""
        return replace(self, ticked=self.ticked ^ {item})

    def with_group(self, group: Group) -> Choice:
        """With every item of the group ticked; with none where all were."""
        all_of_it = frozenset(item for item in self.items if item.group == group)
        others = self.ticked - all_of_it
        return replace(self, ticked=others if all_of_it <= self.ticked else others | all_of_it)

    def with_repeats(self, steps: int) -> Choice:
        """With more repeats, or fewer."""
        at = REPEATS.index(self.repeats) + steps
        return replace(self, repeats=REPEATS[min(max(at, 0), len(REPEATS) - 1)])

    @property
    def _in_pairs(self) -> bool:
        return Item("pairs", PAIRS) in self.ticked

    def _ticked(self, group: Group) -> tuple[str, ...]:
        return tuple(item.name for item in self.items if item.group == group and item in self.ticked)


def choice_for(state: State, models: tuple[ModelName, ...]) -> Choice:
    """What can be measured now; ticked are `models` on each GPU from the RAM tier."""
    items = (
        *(Item("models", name) for name, model in state.models.items() if not model.trouble),
        Item("pairs", PAIRS),
        *(Item("devices", device) for device, known in state.devices.items() if known.reading.health == "ok"),
        *(Item("from", tier) for tier in _TIERS),
        Item("repeats", ""),
    )
    ticked = {Item("models", name) for name in models} | {Item("devices", d) for d in gpus_of(state)}
    synthetic = frozenset(name for name, model in state.models.items() if model.synthetic)
    return Choice(items, frozenset({*ticked, Item("from", "ram")} & set(items)), synthetic)


def choice_rows(choice: Choice, width: int, glyphs: Glyphs) -> dict[Item, Line]:
    """A row for each item, its group named at the group's first."""
    rows: dict[Item, Line] = {}
    group = ""
    for item in choice.items:
        label = item.group if item.group != group else ""
        group = item.group
        words = _words(choice, item, glyphs)
        rows[item] = (Span(f" {left(label, _LABEL)}", "dim"), Span(cut(words, width - _LABEL - 1, glyphs.ellipsis)))
    return rows


def told_line(choice: Choice) -> Line:
    """What the ticks amount to, or what is missing."""
    if choice.missing:
        return (Span(choice.missing, "warn"),)
    series = len(choice.what.subjects)
    each = f"{choice.repeats} times, and {WARM_UP} to warm up"
    return (Span(f"{series} series, each {each}", "strong"),)


def _words(choice: Choice, item: Item, glyphs: Glyphs) -> str:
    if item.group == "repeats":
        return f"{choice.repeats:<4} left and right change it"
    tick = "[x]" if item in choice.ticked else "[ ]"
    name = glyphs.text(item.name)
    if item.group == "models" and item.name in choice.synthetic:
        name = f"{glyphs.synthetic}{name}"
    why = next((f"  {text}" for tier, text in _TIERS.items() if item == Item("from", tier)), "")
    return f"{tick} {name:<10}{why}" if why else f"{tick} {name}"
