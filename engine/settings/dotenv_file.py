"""A `.env` file, as python-dotenv reads it: quotes, values of several lines, `export`, `${OTHER}`.

Other programs share it, so nothing that is theirs stops a start; what may have been meant for us is refused or warned of. Lines
are named, never what stands in them: such files hold secrets of others.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Final

from dotenv.main import resolve_variables
from dotenv.parser import Binding, parse_stream
from msgspec import Struct

from engine.core.near_misses import nearest
from engine.settings.problems import Place, Problem
from engine.whole_file import read_whole

_MOST_BYTES: Final = 1 << 20


class Dotenv(Struct, frozen=True):
    """What a `.env` says to us."""

    values: dict[str, str] = {}
    """Of our variables, the last of equal names."""
    warnings: tuple[str, ...] = ()


def read_dotenv(path: Path, ours: Sequence[str], problems: list[Problem]) -> Dotenv:
    """The variables of `ours` in `path`. A file that can't be read, and a line that begins with one of `ours` and gives it no
    value, are added to `problems`."""
    try:
        text = _text(read_whole(path, _MOST_BYTES))
    except OSError as error:
        problems.append(Problem(Place(path.name), f"the file can't be read: {error.strerror}"))
        return Dotenv()
    bindings = list(parse_stream(StringIO(text, newline="")))
    values = resolve_variables([(b.key, b.value) for b in bindings if b.key is not None], override=True)
    unread = [binding for binding in bindings if _has_no_value(binding)]
    problems += [
        Problem(Place(path.name, f"line {_line(binding)}"), f"{name} is given no value", f"{name}=VALUE")
        for binding in unread
        if (name := _first_name(binding)) in ours
    ]
    return Dotenv(
        {name: value for name, value in values.items() if name in ours and value is not None},
        (
            *_misspelt(path, ours, values),
            *(
                f"{path.name}: line {_line(b)} is no variable, so it is passed over"
                for b in unread
                if b.error and _first_name(b) not in ours
            ),
            *_swallowed(path, ours, bindings),
        ),
    )


def _text(content: bytes) -> str:
    """Ours is ASCII; others may write as they like."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="replace")


def _has_no_value(binding: Binding) -> bool:
    return binding.error or (binding.key is not None and binding.value is None)


def _line(binding: Binding) -> int:
    """The number of its first line that is not empty."""
    string = binding.original.string
    blank = string[: len(string) - len(string.lstrip())]
    return binding.original.line + len(re.findall(r"\r\n|\n|\r", blank))


def _first_name(binding: Binding) -> str:
    """The word that a line begins with, where the name of a variable should stand."""
    match = re.match(r"\s*(?:export\s+)?(\w*)", binding.original.string)
    return match[1] if match else ""


def _misspelt(path: Path, ours: Sequence[str], names: Iterable[str]) -> Iterator[str]:
    """Other programs' variables are none of our business, but a near miss is probably meant for us."""
    for name in names:
        alike = name.upper().replace("-", "_")
        if name not in ours and (close := nearest(alike, ours, cutoff=0.9)):
            yield f"{path.name}: {name} is not read by Citadel; did you mean {close}?"


def _swallowed(path: Path, ours: Sequence[str], bindings: Iterable[Binding]) -> Iterator[str]:
    """Ours within a quoted value of several lines: what stands there is text, and the quote may have been left open."""
    setting = re.compile(rf"^\s*(?:export\s+)?({'|'.join(ours)})\s*=", re.MULTILINE)
    for binding in bindings:
        _, _, later = binding.original.string.lstrip().partition("\n")
        for match in setting.finditer(later):
            yield (
                f"{path.name}: {match[1]} stands within the quotes that begin in line {_line(binding)}, so it is not read; "
                "is a closing quote missing?"
            )
