"""`python -m engine.worker.preparing`: carries out one Order from its standard input, and prints News, a JSON line each.

It uses the code of the engine's own preparer, and may run beside an engine: a folder appears under its name only when it is
whole. Ended by SIGTERM or SIGINT, or left by its reader, it leaves nothing half-written behind.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, Literal, NoReturn, TypeAlias

import msgspec

from engine.core.models import ModelSpec
from engine.core.preparation import Building, Built, Checking, Depth, Kept, News, NotPrepared, Order, Outcome
from engine.weights.errors import BadCheckpoint, WeightsError
from engine.weights.slab import open_prepared, verify_checksum
from engine.weights.sources import Source, prepared_folder, resolve
from engine.worker.ordering import preparation_of
from engine.worker.progress import in_hundredths

Say: TypeAlias = Callable[[News], None]
INTERRUPTED: Final = 130


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    news = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no news
    encoder = msgspec.json.Encoder()

    def say(item: News) -> None:
        news.write(encoder.encode(item) + b"\n")
        news.flush()

    for spec in order.models:
        say(_prepared(spec, Path(order.cache), order.depth, say))


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # a second one must not stop the clearing away
    raise SystemExit(INTERRUPTED)


def _prepared(spec: ModelSpec, cache: Path, depth: Depth, say: Say) -> Outcome:
    damage = ""
    try:
        source = resolve(spec, cache)
        folder = prepared_folder(spec, source, cache)
        if depth != "nothing" and folder.exists():
            try:
                return _kept(spec, folder, depth, say)
            except BadCheckpoint as bad:
                damage = str(bad)
        return _built(spec, source, folder, damage, say)
    except (WeightsError, OSError) as error:
        return NotPrepared(spec.name, f"{damage}; that failed: {error}" if damage else str(error))


def _kept(spec: ModelSpec, folder: Path, depth: Literal["sizes", "checksum"], say: Say) -> Kept:
    """Raises BadCheckpoint when what is there is not believed."""
    prepared = open_prepared(folder)
    if depth == "checksum":
        verify_checksum(prepared, in_hundredths(lambda done: say(Checking(spec.name, done))))
    return Kept(spec.name, prepared.length, depth)


def _built(spec: ModelSpec, source: Source, folder: Path, damage: str, say: Say) -> Built:
    say(Building(spec.name, 0.0))
    began_s = time.monotonic()
    from engine.worker.prepare import build  # here: torch takes seconds, which a slab that is kept does not need

    request = preparation_of(spec, source, folder, request_id=1)
    prepared = build(request, in_hundredths(lambda done: say(Building(spec.name, done))))
    return Built(spec.name, prepared.length, time.monotonic() - began_s, damage)


if __name__ == "__main__":
    main()
