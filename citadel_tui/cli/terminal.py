"""Whether there is a terminal that can show the console, and what to do where there is none."""

from __future__ import annotations

import os
import sys
from typing import Final

_CAN_NOT_MOVE: Final = ("", "dumb", "unknown")
"""Values of TERM that promise no way to move the cursor."""


def why_no_console() -> str:
    """Why the console can't be shown, in words; empty when it can."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "the console needs a terminal"
    term = os.environ.get("TERM", "")
    if term in _CAN_NOT_MOVE:
        return f"a terminal with TERM={term} can't show the console" if term else "the console needs TERM to be set"
    return ""
