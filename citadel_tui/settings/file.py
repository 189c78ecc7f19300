"""Reading and writing `console.yaml`: what people wrote in it stays, a file with a mistake is left alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

from msgspec import Struct

from citadel_tui.settings.settings import AT_FIRST, ConsoleSettings
from engine.whole_file import write_whole


class Loaded(Struct, frozen=True):
    """What came of reading the file."""

    settings: ConsoleSettings = AT_FIRST
    complaint: str = ""
    """Why the file is ignored, in words; it is not written to then."""
    first: bool = False
    """Whether there is no file yet: nobody has left this console before."""


def load_settings_file(path: Path) -> Loaded:
    """The settings in `path`; those of a new console when there is no such file, or one that can't be used."""
    if not path.exists():
        return Loaded(first=True)
    # Only now: a console without a file must not pay for them.
    from citadel_tui.settings.schema import settings_of
    from engine.settings.documents import read_yaml
    from engine.settings.problems import Problem

    problems: list[Problem] = []
    settings = settings_of(read_yaml(path, problems), path.name, problems)
    if settings is not None:
        return Loaded(settings)
    mistakes = "; ".join(problem.text for problem in problems)
    return Loaded(complaint=f"{path} is ignored, and stays as it is: {mistakes}")


def save_settings_file(path: Path, settings: ConsoleSettings) -> None:
    """Write what the console remembers into `path`, line by line, leaving all other lines as they are. Raises OSError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = ["# Citadel's console. The lines below are written when it is left; other keys: `keys: {evict: x}`."]
    for name, value in _remembered(settings).items():
        lines = _with(lines, name, f"{name}: {value}")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, ("\n".join(lines) + "\n").encode())


def _remembered(settings: ConsoleSettings) -> dict[str, str]:
    return {
        "sort": settings.sorting.key,
        "reverse": json.dumps(settings.sorting.reverse),
        "filter": json.dumps(settings.wanted),
        "colours": settings.colours,
        "graphs": json.dumps(settings.graphs),  # In quotes: YAML takes a bare `on` for true.
    }


def _with(lines: list[str], name: str, line: str) -> list[str]:
    # Only from the left edge: the same name further in is a key of a table, such as an action's under `keys`.
    found = [index for index, old in enumerate(lines) if re.match(rf"{name}\s*:", old)]
    return [*lines[: found[0]], line, *lines[found[0] + 1 :]] if found else [*lines, line]
