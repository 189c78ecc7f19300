"""Changes to the text of fleet.yaml: a box put in, or taken out. Every line that the change is not about stays as it was.

Kept apart: the settings are read elsewhere, and never written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from engine.core.names import BoxName
from engine.settings.problems import SettingsError
from engine.settings.yaml_text import NotSet, with_value, without_key
from engine.whole_file import only_writer, write_whole
from fleet.ray_cluster import FleetRefused
from fleet.settings import load_fleet


def put_in(file: Path, name: BoxName, host: str) -> None:
    """Have the box reached through Ray. Raises FleetRefused, with the line to be put in by hand, and SettingsError."""
    if name in load_fleet(file).boxes:
        raise FleetRefused(f"{file} has a box {name} already, and is left as it is")
    by_hand = f"put it beneath boxes yourself: {name}: {{ray: {host}}}"
    _change(file, lambda text: with_value(text, ("boxes",), name, {"ray": host}), by_hand)


def take_out(file: Path, name: BoxName) -> None:
    """Forget the box. Raises FleetRefused, where it is written in a way that only a person should change, and SettingsError."""
    boxes = load_fleet(file).boxes
    if name not in boxes:
        raise FleetRefused(f"{file} has no box {name}; it has {', '.join(boxes)}")
    if len(boxes) == 1:
        raise FleetRefused(
            f"{name} is the only box of {file}, which is left as it is: remove the file, there is no fleet then"
        )
    _change(file, lambda text: without_key(text, ("boxes",), name), f"take {name} out yourself")


def _change(file: Path, changed: Callable[[str], str], by_hand: str) -> None:
    """Raises FleetRefused while somebody else changes it, as a drain does, where only a person should, and where it would have
    mistakes then."""
    try:
        with only_writer(file.parent):
            text = changed(file.read_text(encoding="utf-8"))
            _check(file, text, by_hand)
            write_whole(file, text.encode(), file.stat().st_mode & 0o777)
    except NotSet as error:
        raise FleetRefused(
            f"{file} is left as it is: it is written in another way than this changes ({error}); {by_hand}"
        ) from error
    except BlockingIOError:
        raise FleetRefused(f"somebody else is changing {file} at this moment; it is left as it is, try again") from None


def _check(file: Path, text: str, by_hand: str) -> None:
    """Raises FleetRefused for what the service would not start with."""
    with tempfile.TemporaryDirectory() as folder:
        tried = Path(folder, file.name)
        tried.write_text(text, encoding="utf-8")
        try:
            load_fleet(tried)
        except SettingsError as error:
            mistakes = "; ".join(problem.text for problem in error.problems)
            raise FleetRefused(
                f"{file} is left as it is: it would have mistakes then ({mistakes}); {by_hand}"
            ) from None
