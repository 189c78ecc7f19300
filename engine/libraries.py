"""Whether the libraries are here that only workers import, asked before a process is started that can't live without them."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

from engine.api import EngineError

_NEEDED: Final = {
    "torch": "`citadel doctor` says how to install the one that fits this machine",
    "transformers": f"install it with `{sys.executable} -m pip install transformers`",
}
"""What workers import, and what to do where it is missing."""


class LibraryMissing(EngineError):
    """No model can run in this Python."""


def check_libraries() -> None:
    """Raises LibraryMissing, with what to do about it. Imports none of them."""
    for name, remedy in _NEEDED.items():
        found = find_spec(name)
        if found is None or found.origin is None:  # a folder that an uninstall has left behind has no origin
            raise LibraryMissing(
                f"{name} is not installed for {sys.executable}, and no model runs without it; {remedy}"
            )


def torch_version() -> str:
    """Of the torch that is installed; empty when it does not tell."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""
