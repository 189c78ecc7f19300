"""What is typed, read where it comes: in a thread that sleeps until there is something.

Kept apart: it needs no app and no terminal, and is tested without either.
"""

from __future__ import annotations

import os
import select
from codecs import getincrementaldecoder
from collections.abc import Callable
from typing import Final

from textual._xterm_parser import XTermParser
from textual.message import Message

_PIECE_BYTES: Final = 4096
_LOOK_S: Final = 0.1
"""So often an unfinished sequence is looked at: an escape that nothing follows was a key of its own."""


def read_typed(terminal: int, end: int, parser: XTermParser, hand_on: Callable[[Message], None]) -> None:
    """Hand on what comes from the descriptor `terminal` until there is something to read at `end`, which stays there.

    Textual's own loop looks ten times a second whether it is to end, which costs as much as half a screen.
    """
    decode = getincrementaldecoder("utf-8")().decode
    while True:
        # Textual's own field: should it go by another name one day, this looks as often as Textual does.
        is_unfinished = getattr(parser, "_timeout_time", 0.0) is not None
        ready, _, _ = select.select([terminal, end], [], [], _LOOK_S if is_unfinished else None)
        if end in ready:
            return
        if terminal in ready:
            if not (came := os.read(terminal, _PIECE_BYTES)):
                return  # whoever typed has gone
            # An empty text, as half a character is one, would be the end of all typing for the parser.
            if text := decode(came):
                for message in parser.feed(text):
                    hand_on(message)
        for message in parser.tick():
            hand_on(message)
