"""Reads `.env`: `KEY=VALUE` lines with quotes, comments and `export`. Its messages name lines, never what stands in them:
such files hold secrets of others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from engine.settings.problems import Place, Problem

_LINE: Final = re.compile(
    r"""\s*(?:export\s+)?(?P<key>[A-Za-z_]\w*)\s*=[ \t]*
    (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^'"\s](?:.*?\S)??)?)
    \s*(?:(?<=\s)\#.*)?""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE: Final = re.compile(r"\\(.)")


def read_dotenv(path: Path, problems: list[Problem]) -> dict[str, str]:
    """The variables in `path`, the last of equal keys; lines that can't be read are added to `problems`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        problems.append(Problem(Place(path.name), f"the file can't be read: {error.strerror}"))
        return {}
    except UnicodeDecodeError as error:
        problems.append(Problem(Place(path.name), f"the file is not UTF-8 text (byte {error.start})"))
        return {}
    values = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if match := _LINE.fullmatch(line):
            values[match["key"]] = _value(match)
        else:
            problems.append(
                Problem(Place(path.name, f"line {number}"), "it is not a variable", 'KEY=VALUE or KEY="VALUE"')
            )
    return values


def _value(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return _ESCAPE.sub(r"\1", match["double"])
    return match["single"] or match["bare"] or ""
