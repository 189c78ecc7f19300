"""Changes to the text of fleet.yaml: a box put in, or taken out. Every line that the change is not about stays as it was.

Kept apart: the settings are read elsewhere, and never written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from engine.core.names import BoxName
from engine.settings.problems import SettingsError
from engine.whole_file import FOR_ALL, only_writer, write_whole
from fleet.ray_cluster import FleetRefused
from fleet.settings import BoxEntry, load_fleet

_BOXES: Final = re.compile(r"^boxes:[ \t]*(#.*)?$", re.MULTILINE)


def put_in(file: Path, name: BoxName, host: str) -> None:
    """Have the box reached through Ray. Raises FleetRefused, with the line to be put in by hand, and SettingsError."""
    line = f"  {name}: {{ray: {host}}}"
    by_hand = f"put it beneath boxes yourself: {line.strip()}"
    with _alone(file):
        before = load_fleet(file).boxes
        text = file.read_text(encoding="utf-8")
        if name in before:
            raise FleetRefused(f"{file} has a box {name} already, and is left as it is")
        found = _BOXES.search(text)
        changed = f"{text[: found.end()]}\n{line}{text[found.end() :]}" if found else text
        _replace(file, text, changed, {**before, name: BoxEntry(ray=host)}, by_hand)


def take_out(file: Path, name: BoxName) -> None:
    """Forget the box. Raises FleetRefused, where it is written in a way that only a person should change, and SettingsError."""
    with _alone(file):
        before = load_fleet(file).boxes
        if name not in before:
            raise FleetRefused(f"{file} has no box {name}; it has {', '.join(before)}")
        text = file.read_text(encoding="utf-8")
        entry = rf"^[ \t]+{re.escape(name)}:[ \t]*(\{{[^}}\n]*\}})?[ \t]*(#.*)?\n"
        changed = re.sub(entry, "", text, count=1, flags=re.MULTILINE)
        _replace(file, text, changed, {box: before[box] for box in before if box != name}, f"take {name} out yourself")


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Raises FleetRefused while somebody else changes it, as a drain does."""
    try:
        with only_writer(file.parent):
            yield
    except BlockingIOError:
        raise FleetRefused(f"somebody else is changing {file} at this moment; it is left as it is, try again") from None


def _replace(file: Path, text: str, changed: str, wanted: dict[BoxName, BoxEntry], by_hand: str) -> None:
    """Raises FleetRefused where the change would make another fleet than is wanted."""
    beside = file.with_name(f".{file.name}.new")
    try:
        write_whole(beside, changed.encode(), FOR_ALL)
        if changed == text or load_fleet(beside).boxes != wanted:
            raise FleetRefused(f"{file} is left as it is: it is written in another way than this changes; {by_hand}")
        write_whole(file, changed.encode(), file.stat().st_mode & 0o777)
    except SettingsError as error:
        raise FleetRefused(f"{file} is left as it is; {by_hand}. {error}") from error
    finally:
        beside.unlink(missing_ok=True)
