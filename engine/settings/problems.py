"""What is wrong with a configuration, in words: where, what was given, what is allowed, what was probably meant."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from engine.api import BadRequest
from engine.core.near_misses import nearest


class Place(Struct, frozen=True):
    """A spot in a file: `gpu_allocation.yaml`, `devices.virtual[1].memory`."""

    file: str
    key: str = ""
    """Dotted path from the top; empty for the file as a whole."""

    def child(self, name: object) -> Place:
        text = plain(name)
        return replace(self, key=f"{self.key}.{text}" if self.key else text)

    def item(self, index: int, label: str = "") -> Place:
        return replace(self, key=f"{self.key}[{index}]" + (f" ({plain(label)})" if label else ""))


class Problem(Struct, frozen=True):
    """One mistake, and how to mend it."""

    at: Place
    what: str
    """What was found there, such as `1.4 is given`."""
    allowed: str = ""
    hint: str = ""

    @property
    def text(self) -> str:
        where = f"{self.at.file}: {self.at.key}: " if self.at.key else f"{self.at.file}: "
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}{self.what}{allowed}{hint}"


class SettingsError(BadRequest):
    """The configuration can't be used. Nothing was started with it, nor changed: its writer's mistake, and no failure of an
    engine."""

    def __init__(self, headline: str, problems: Iterable[Problem] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([headline, *(f"  {problem.text}" for problem in self.problems)]))


def given(value: object) -> str:
    """`value` as it is quoted in a message: short, on one line, control characters escaped."""
    match value:
        case bool():
            return f"{str(value).lower()} is given"
        case dict():
            return "a table is given"
        case list():
            return "an empty list is given" if not value else "a list is given"
        case None:
            return "nothing is given"
        case _:
            return f"{_SHORT.repr(value)} is given"


def plain(name: object) -> str:
    """A key from a file, escaped when a terminal could misread it."""
    text = str(name)
    return text if text.isprintable() and len(text) <= _SHORT.maxstring else _SHORT.repr(text)


def meant(word: object, known: Iterable[str]) -> str:
    """A hint at the one of `known` that `word` is nearly, or nothing."""
    close = nearest(str(word), known)
    return f"did you mean {close}?" if close else ""


_SHORT = reprlib.Repr()
_SHORT.maxstring = 80
_SHORT.maxother = 80
