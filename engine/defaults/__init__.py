"""The configuration that comes with the program: what counts where nobody has written one, and what is copied to be changed.

`gpu_allocation.yaml` is a link to the one of the checkout in `config/`; a wheel has the file itself. The catalog is empty.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

DEFAULTS_FOLDER: Final = Path(__file__).parent
DEFAULT_FILES: Final = ("gpu_allocation.yaml", "model_gpu_mapping.json")


def is_of_the_program(folder: str) -> bool:
    """Whether `folder` is the one of a program's defaults, of this installation or of another."""
    return Path(folder).parts[-2:] == DEFAULTS_FOLDER.parts[-2:]


def write_defaults(folder: Path) -> tuple[Path, ...]:
    """Copy the files into `folder`, which is made; those that were written. One that is there stays. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(folder / name for name in DEFAULT_FILES if _copied(DEFAULTS_FOLDER / name, folder / name))


def _copied(original: Path, copy: Path) -> bool:
    content = original.read_bytes()
    try:
        with copy.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True
