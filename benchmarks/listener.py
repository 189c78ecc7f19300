"""A client that reads many streams at once and passes on nothing: a process of its own, beside the engine that is measured.

It says on stdout how many parts came in all.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from engine.client import RemoteEngine
from engine.core.tasks import Generate, TextPart


async def listen(socket: Path, model: str, streams: int, tokens: int) -> None:
    parts = await asyncio.gather(*(_read(RemoteEngine(socket), model, tokens) for _ in range(streams)))
    sys.stdout.write(f"{sum(parts)}\n")


async def _read(engine: RemoteEngine, model: str, tokens: int) -> int:
    """How many parts came."""
    return sum([isinstance(event, TextPart) async for event in engine.run(model, Generate("a", tokens))])


if __name__ == "__main__":
    asyncio.run(listen(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
