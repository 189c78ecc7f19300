"""Which of the words that there are somebody may have meant who wrote another one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

_LONGEST: Final = 200
"""Nobody mistypes a longer word, and comparing costs its length in time: of megabytes, seconds."""


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The most alike of `known`, if one is."""
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=cutoff)), None) if len(word) <= _LONGEST else None
