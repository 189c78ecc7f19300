"""A command as it is typed in a shell: what is made of it, and that it is read back as it was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import split
from types import UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

import pytest

from citadel_tui.cli.act import VerbArguments
from citadel_tui.cli.parser import COMMANDS, Arguments, parse
from citadel_tui.share import command_line
from engine.core.commands import Batch, Evict, ForceCpu, LeaveCpu, Load, Move, SetPin, Single, Unpin


@pytest.mark.parametrize(
    "command",
    [
        Load("m"),
        Load("m", "gpu1"),
        Load("m", also=True),
        Load("m", "gpu1", also=True),
        Evict("m"),
        Evict("m", "gpu1"),
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
    for line in ([verb, *words], ["plan", verb, *words]):
        arguments = parse(line).arguments
        assert isinstance(arguments, VerbArguments)
        assert arguments.command() == command


def test_several_commands_are_carried_out_as_long_as_each_succeeds() -> None:
    assert command_line(Batch("both", (Evict("a"), Load("b")))) == "citadel evict a && citadel load b"


@pytest.mark.parametrize(
    "line", [["--config", "a", "log"], ["log", "--config", "a"], ["--config", "b", "log", "--config", "a"]]
)
def test_the_configuration_may_be_named_before_the_command_and_after_it(line: list[str]) -> None:
    assert parse(line).arguments.config == Path("a")


def test_no_command_is_the_console() -> None:
    assert parse(["--read-only"]).arguments == Arguments(read_only=True)


@pytest.mark.parametrize(("short", "whole"), [("stat", "status"), ("mod li", "models list"), ("replay t", "replay t")])
def test_a_command_may_be_cut_short(short: str, whole: str) -> None:
    assert parse(split(short)).run.func is parse(split(whole)).run.func  # type: ignore[attr-defined]
    assert parse(split(short)).arguments == parse(split(whole)).arguments


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("un m", "'un' may be unpin or undo; write more of it"),
        ("statsu", "there is no command 'statsu'; did you mean status?"),
        ("frobnicate", "there is no command 'frobnicate'; citadel --help lists those there are"),
        ("models lits", "there is no command 'lits'; did you mean list or alias?"),
        ("''", "there is no command ''; citadel --help lists those there are"),
    ],
)
def test_a_command_that_is_none_is_answered_with_what_may_be_meant(
    line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(split(line))
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_its_arguments(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse([command, "--help"])
    assert COMMANDS[command] in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "line",
    [
        "init",
        "init a",
        "completion zsh",
        "serve",
        "stop",
        "doctor --json",
        "gpus --measure",
        "help keys",
        "status --csv --watch",
        "log -n 3 --follow",
        "monitor --format jsonl --output f",
        "record f --interval 2",
        "replay-session f --speed 2",
        "why m",
        "load m --on gpu0",
        "evict m --yes",
        "pin m",
        "unpin m",
        "cpu m --back",
        "move m cpu",
        "plan move m cpu --json",
        "rebalance",
        "drain gpu1 --yes",
        "pack",
        "pack gpu1",
        "undo --json",
        "embed m a b",
        "embed m a --prompt query --dimensions 8 --truncate --json",
        "embed m a --prompt-text before",
        "generate m a --max-tokens 3",
        "generate m a --chat --temperature 1 --top-k 4 --seed 3 --stop x",
        "selftest",
        "models list",
        "models",
        "load m --json",
        "pack --yes --json",
        "move --on gpu0 m",
        "models make a b",
        "prepare --check m",
        "bench m n --on gpu0 gpu1 --from ram disk --pairs --output f",
        "replay t --gpus 2x4.8GB --sizes cycle --timed",
        "replay --own --policy lru",
        "replay --generated models=3,seed=2 --timed",
        "advise --json --limit 100",
        "advise --trace t --gpus 2x4.8GB --work-per-s 20",
        "advise --generated models=3",
        "drive --generated models=2,requests=9 --duration 3",
        "report",
    ],
)
def test_what_a_command_is_given_has_the_types_that_it_declares(line: str) -> None:
    arguments = parse(split(line)).arguments
    hints = get_type_hints(type(arguments))
    for name in arguments.__struct_fields__:
        assert is_a(getattr(arguments, name), hints[name]), name


def is_a(value: object, hint: object) -> bool:
    """Whether `value` is what `hint` promises, as far as the arguments of commands need types."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in parts
    if origin in (Union, UnionType):
        return any(is_a(value, part) for part in parts)
    if origin in (tuple, Sequence):
        return isinstance(value, list | tuple) and all(is_a(each, parts[0]) for each in value)
    assert isinstance(hint, type)
    return type(value) is hint if hint in (int, float, bool) else isinstance(value, hint)
