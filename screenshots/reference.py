"""Takes two pictures of the reference box on the stand-in for cards, from the engine that runs there; changes nothing.

`CITADEL_HOME=.venv-standin/home .venv/bin/python -m screenshots.reference` after what docs/results/standin-reference.md says.
Where no engine runs on the stand-in it only says so.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

from engine.api import EngineUnreachable
from engine.client import connect
from engine.paths import Paths, find_paths
from engine.runtime.start import STAND_IN_BANNER
from screenshots.camera import LARGE, SMALL, camera

TITLE: Final = "citadel on the stand-in: cards made of host RAM"


async def take(paths: Paths) -> None:
    """The dashboard, and the newest switch phase by phase."""
    async with camera(paths, LARGE) as shot:
        await shot.sees_nothing_under_way()
        shot.save("standin-dashboard", TITLE)
    async with camera(paths, SMALL) as shot:
        await shot.select_newest_load()
        await shot.press("enter")
        await shot.sees("Phases")
        shot.save("standin-waterfall", TITLE)


async def main() -> None:
    paths = find_paths(os.environ)
    try:
        banner = (await (await connect(paths)).hello()).banner
    except EngineUnreachable as trouble:
        sys.stderr.write(f"no picture was taken: {trouble}\n")
        return
    if banner != STAND_IN_BANNER:
        sys.stderr.write("no picture was taken: the engine does not run on the stand-in (make run STANDIN=1)\n")
        return
    await take(paths)


if __name__ == "__main__":
    asyncio.run(main())
