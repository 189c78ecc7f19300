"""A command as it is typed in a shell, and read back."""

from __future__ import annotations

from shlex import split

import pytest

from citadel_tui.cli.parser import parse
from citadel_tui.cli.requested import requested
from citadel_tui.share import command_line
from engine.core.commands import Batch, Evict, ForceCpu, LeaveCpu, Load, Move, SetPin, Single, Unpin


@pytest.mark.parametrize(
    "command",
    [
        Load("m"),
        Load("m", "gpu1"),
        Evict("m"),
        SetPin("m"),
        SetPin("m", "gpu0"),
        Unpin("m"),
        ForceCpu("m"),
        LeaveCpu("m"),
        Move("m", "cpu"),
        Load("a name; with 'signs'"),
    ],
)
def test_what_is_written_is_read_as_the_same_command(command: Single) -> None:
    program, verb, *words = split(command_line(command))
    assert program == "citadel"
    assert requested(verb, parse([verb, *words])) == command


def test_several_commands_are_carried_out_as_long_as_each_succeeds() -> None:
    assert command_line(Batch("both", (Evict("a"), Load("b")))) == "citadel evict a && citadel load b"
