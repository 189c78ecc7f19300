"""`citadel help [TOPIC]`: explanations on the terminal, of the same text as the console's help page."""

from __future__ import annotations

import shutil
import sys
from typing import Final

from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import can_draw
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from citadel_tui.viewmodel.pages.help import TOPICS
from citadel_tui.viewmodel.paper import Paper

_WIDEST: Final = 100
_NAME: Final = 12


class HelpArguments(Arguments, frozen=True, kw_only=True):
    topic: str | None


def add_arguments(command: CommandParser) -> None:
    command.add_argument("topic", nargs="?", choices=tuple(TOPICS), metavar="TOPIC", help=", ".join(TOPICS))
    command.carried_out_by(run, HelpArguments)


def run(arguments: HelpArguments) -> int:
    if arguments.topic is None:
        print("\n".join(f"citadel help {name:<{_NAME}}{topic.purpose}" for name, topic in TOPICS.items()))
        print(f"citadel --help{'':<{_NAME - 1}}the commands")
        return Exit.DONE
    glyphs = UNICODE if can_draw(sys.stdout) else ASCII
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    for line in TOPICS[arguments.topic].lines(Paper(width, glyphs)):
        print("".join(span.text for span in line).rstrip())
    return Exit.DONE
