"""How characters are drawn, and the shortest way for a terminal to change from one way to another.

The codes are those of ECMA-48, Select Graphic Rendition.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Final

from msgspec import Struct

_INKS: Final = frozenset(str(code) for code in (*range(30, 38), *range(90, 98)))
_GROUNDS: Final = frozenset(str(code) for code in (*range(40, 48), *range(100, 108)))
_UNSEEN_ON_BLANKS: Final = frozenset({"1", "2", "3", "5", "6", "8"})
"""Bold, faint, italic, two kinds of blinking, concealed."""
_REMEMBERED: Final = 1024


class Pen(Struct, frozen=True):
    """Attributes and colours, each as the codes that set them."""

    attributes: tuple[str, ...] = ()
    ink: str = ""
    """The terminal's own where it is empty, as is the ground."""
    ground: str = ""


PLAIN: Final = Pen()


@lru_cache(_REMEMBERED)
def pen_of(codes: str) -> Pen:
    """The pen after these codes, separated by semicolons, from the plain one on."""
    attributes: list[str] = []
    ink = ground = ""
    rest = iter(codes.split(";"))
    for code in rest:
        if code in ("", "0"):
            attributes, ink, ground = [], "", ""
        elif code in ("38", "39") or code in _INKS:
            ink = _colour(code, rest)
        elif code in ("48", "49") or code in _GROUNDS:
            ground = _colour(code, rest)
        else:
            attributes.append(code)
    return Pen(tuple(attributes), ink, ground)


@lru_cache(_REMEMBERED)
def on_blanks(pen: Pen) -> Pen:
    """What is seen of the pen where it draws a blank: its ground, as long as no attribute shows too."""
    return Pen(ground=pen.ground) if _UNSEEN_ON_BLANKS.issuperset(pen.attributes) else pen


@lru_cache(_REMEMBERED)
def change(before: Pen, after: Pen) -> str:
    """The shortest sequence that makes `after` of `before`; empty when they are the same."""
    if before == after:
        return ""
    if after == PLAIN:
        return "\x1b[m"
    anew = _sequence("0", *after.attributes, after.ink, after.ground)
    kept = len(before.attributes)
    # Attributes are added one by one but not taken away: 22 ends bold and faint alike. So those before must be the beginning of
    # those after, or all of it is set anew.
    if after.attributes[:kept] != before.attributes:
        return anew
    ink = "" if after.ink == before.ink else after.ink or "39"
    ground = "" if after.ground == before.ground else after.ground or "49"
    return min(_sequence(*after.attributes[kept:], ink, ground), anew, key=len)


def _sequence(*codes: str) -> str:
    return f"\x1b[{';'.join(filter(None, codes))}m"


def _colour(code: str, rest: Iterator[str]) -> str:
    """The colour that `code` begins: 38 and 48 are followed by 5 and a number, or by 2 and three; 39 and 49 take it away."""
    if code in ("39", "49"):
        return ""
    if code not in ("38", "48"):
        return code
    kind = next(rest, "")
    return ";".join((code, kind, *islice(rest, 3 if kind == "2" else 1)))
