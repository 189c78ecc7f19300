"""From arguments to an exit status: runs the command that was asked for, and puts what went wrong into words on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import IntEnum

from citadel_tui.cli.output import OutputFailed, forget_output, speak_up
from citadel_tui.cli.parser import Invocation, parse
from citadel_tui.text import clean_lines
from engine.core.texts import fault_of_text


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


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of `citadel ARGUMENTS`."""
    speak_up()
    given = sys.argv[1:] if argv is None else argv
    if fault := next(filter(None, map(fault_of_text, given)), ""):
        sys.stderr.write(f"citadel: the argument {fault}\n")
        return Exit.NO_ENGINE
    try:
        try:
            return _run(parse(argv))
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        forget_output()
        return Exit.PIPE_CLOSED
    except OutputFailed as failed:
        forget_output()
        sys.stderr.write(f"citadel: {failed}\n")
        return Exit.FAILED


def _run(invocation: Invocation) -> int:
    from engine.api import EngineError, EngineUnreachable

    try:
        return invocation.run()
    except EngineError as error:
        sys.stderr.write(f"citadel: {clean_lines(str(error))}\n")
        return Exit.NO_ENGINE if isinstance(error, EngineUnreachable) else Exit.FAILED
