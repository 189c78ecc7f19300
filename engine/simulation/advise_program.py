"""`python -m engine.simulation.advise_program`: answers one Question from its standard input with AdviceNews, a JSON line each.

A process of its own, of low priority: it computes for minutes, beside an engine that has better things to do.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from engine.core.serialization import from_json, to_json
from engine.simulation.advice import AdviceNews, Question, advise

_NICENESS: Final = 10


def main() -> None:
    os.nice(_NICENESS)
    asked = from_json(sys.stdin.buffer.read(), Question)

    def say(item: AdviceNews) -> None:
        sys.stdout.buffer.write(to_json(item) + b"\n")
        sys.stdout.buffer.flush()  # where nobody reads any more, this ends the program

    say(advise(asked, say))


if __name__ == "__main__":
    main()
