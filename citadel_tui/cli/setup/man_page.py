"""The manual page, citadel(1), from the commands' own parser.

Kept apart: it is written when the program is packed, by `setup.py`.
"""

from __future__ import annotations

from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Iterator

from citadel_tui.cli.parser import COMMANDS, EXIT_STATUSES, commands_of, commands_of_action, whole_parser
from engine.version import VERSION

_FILES = (
    ("~/.config/citadel/", "the configuration, unless ./config has it, or --config or CITADEL_CONFIG names another"),
    ("~/.local/state/citadel/", "the engine's log, the journal, what was recorded, keys of applications"),
    ("~/.cache/citadel/", "prepared models; can be made again"),
)


def man_page() -> str:
    """In the language of man(7)."""
    parser = whole_parser()
    commands = commands_of(parser)
    lines = [
        f'.TH CITADEL 1 "" "citadel {VERSION}" "User Commands"',
        *(".SH NAME", f"citadel \\- {_text('see and steer which models are in memory')}"),
        *(".SH SYNOPSIS", _usage(parser)),
        *(".SH DESCRIPTION", _text(parser.description or "")),
        *(".SH OPTIONS", *_options(parser)),
        ".SH COMMANDS",
    ]
    for name in COMMANDS:
        lines += _command(commands[name])
    lines += [".SH EXIT STATUS", _text(EXIT_STATUSES), ".SH FILES"]
    for path, about in _FILES:
        lines += [".TP", f".I {_text(path)}", _text(about)]
    return "\n".join([*lines, ""])


def _command(command: ArgumentParser) -> Iterator[str]:
    """Its section, and those of its own commands."""
    yield f'.SS "{_text(command.prog)}"'
    yield _text(command.description or "")
    yield ".PP"
    yield _usage(command)
    yield from _options(command)
    for part in commands_of(command).values():
        if not part.is_repeated:
            yield from _command(part)


def _usage(parser: ArgumentParser) -> str:
    return _text(" ".join(parser.format_usage().removeprefix("usage: ").split()))


def _options(parser: ArgumentParser) -> Iterator[str]:
    """Those that all commands have are told once."""
    of_all = () if parser.prog == "citadel" else ("help", "config")
    for action in parser._actions:
        if action.help != SUPPRESS and action.dest not in of_all and not commands_of_action(action):
            yield from (".TP", f".B {_text(_invocation(action))}", _text(_help(parser, action)))


def _invocation(action: Action) -> str:
    taken = "" if action.nargs == 0 else f" {_word(action)}"
    return ", ".join(f"{name}{taken}" for name in action.option_strings) or _word(action)


def _word(action: Action) -> str:
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    choices = f"{{{','.join(map(str, action.choices))}}}" if action.choices else ""
    return action.metavar or choices or (action.dest.upper() if action.option_strings else action.dest)


def _help(parser: ArgumentParser, action: Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _text(text: str) -> str:
    """`text` on one line, none of its signs an order to the formatter."""
    flat = " ".join(text.replace("\\", "\\e").replace("-", "\\-").split())
    flat = "".join(sign if sign.isascii() else f"\\[u{ord(sign):04X}]" for sign in flat)
    return f"\\&{flat}" if flat.startswith((".", "'")) else flat
