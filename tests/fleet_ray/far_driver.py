"""A fleet's service in a process of its own, as far as it has a run under way: to be killed."""

from __future__ import annotations

import asyncio
import sys

from engine.core.tasks import Generate
from engine.paths import find_paths
from fleet.ray_cluster import become_driver
from fleet.ray_link import link_over_ray


async def started(home: str, socket: str, model: str) -> asyncio.subprocess.Process:
    """Once the first part of its run has come."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", __name__, home, socket, model, stdout=pipe)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"it runs\n"
    return process


async def _run(home: str, socket: str, model: str) -> None:
    async with link_over_ray("box1", become_driver(find_paths({"CITADEL_HOME": home})), socket) as link:
        async for _part in link.run(model, Generate("abc")):
            sys.stdout.write("it runs\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
