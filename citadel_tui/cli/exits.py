"""What the exit status of `citadel` means."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    NO_ENGINE = 2
    """Also wrong usage, as argparse has it."""
    REFUSED = 3
    """The engine has no plan for it."""
    NOT_CONFIRMED = 4
    """The plan touches more than its own model, and nobody said yes."""
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    """The reader of our output has gone, as when piped into `head`."""
