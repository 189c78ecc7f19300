"""`citadel init [DIR]`: a configuration of one's own, a copy of the program's defaults. What is there already stays as it is."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.text import clean
from engine.defaults import DEFAULT_FILES, write_defaults
from engine.paths import config_home


class InitArguments(Arguments, frozen=True, kw_only=True):
    folder: Path | None


def add_arguments(command: CommandParser) -> None:
    command.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="DIR",
        help="where; left out: ~/.config/citadel, where it is found from anywhere",
    )
    command.carried_out_by(run, InitArguments)


def run(arguments: InitArguments) -> int:
    named = arguments.folder or arguments.config or os.environ.get("CITADEL_CONFIG")
    folder = Path(named).expanduser().absolute() if named else config_home(os.environ)
    try:
        written = write_defaults(folder)
    except OSError as error:
        tell(f"no configuration can be written to {folder}: {error.strerror}")
        return Exit.FAILED
    for name in DEFAULT_FILES:
        path = folder / name
        print(clean(f"{path}: {'written' if path in written else 'there already, and left as it is'}"))
    for line in _what_next(folder, found_by_itself=_is_found(folder)):
        tell(line)
    return Exit.DONE


def _is_found(folder: Path) -> bool:
    """Whether a start in this working folder goes by `folder` unasked; another may go before it."""
    from engine.settings import SettingsError, find_config_folder

    try:
        return find_config_folder(None, os.environ, Path.cwd()).samefile(folder)
    except SettingsError:
        return False


def _what_next(folder: Path, *, found_by_itself: bool) -> list[str]:
    start = "citadel" if found_by_itself else f"citadel --config {shlex.quote(str(folder))}"
    catalog = DEFAULT_FILES[1]
    return [
        f"start with `{start}`; an engine that runs already goes by it after `citadel stop`",
        f"then `citadel models add hub:OWNER/NAME`, what the Hugging Face cache has, or path:FOLDER; {catalog} lists them",
    ]
