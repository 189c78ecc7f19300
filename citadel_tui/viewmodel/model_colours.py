"""One colour a model, the same in bars, table, log and timeline.

A colour is a number; each theme has one of its own for it, told apart in 16 colours, on light backgrounds and by the
colour-blind. There are few that are, so that models may share one: beside each stands a name or a mark.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from citadel_tui.viewmodel.spans import Role
from engine.core.names import ModelName

BLOCKS: Final[tuple[Role, ...]] = ("block-1", "block-2", "block-3", "block-4", "block-5", "block-6")
"""Cells in a model's colour."""
_LABELS: Final[tuple[Role, ...]] = ("name-1", "name-2", "name-3", "name-4", "name-5", "name-6")
"""Text on them."""


class ModelColours(Struct, frozen=True):
    """Which models have which; what was given once is kept, whoever comes or goes."""

    given: dict[ModelName, int] = {}

    def with_models(self, names: Iterable[ModelName]) -> ModelColours:
        """The same, and a colour for each of `names` that has none: its own, unless fewer models have another."""
        new = [name for name in names if name not in self.given]
        if not new:
            return self
        given = dict(self.given)
        for name in new:
            shared = Counter(given.values())
            given[name] = min(range(len(BLOCKS)), key=lambda n: (shared[n], (n - _own(name)) % len(BLOCKS)))
        return ModelColours(given)

    def block(self, name: ModelName) -> Role:
        """For cells that stand for the model."""
        return BLOCKS[self._number(name)]

    def label(self, name: ModelName) -> Role:
        """For the model's name where it stands on such cells."""
        return _LABELS[self._number(name)]

    def _number(self, name: ModelName) -> int:
        return self.given.get(name, _own(name))


def _own(name: ModelName) -> int:
    """By the name alone, so that it is the same tomorrow, and on another machine."""
    return zlib.crc32(name.encode()) % len(BLOCKS)
