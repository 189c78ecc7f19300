"""A fleet's service in a process of its own, as far as it has a run under way: to be killed."""

from __future__ import annotations

import asyncio
import sys

import ray

from engine.core.tasks import Generate
from fleet.ray_driver import NAMESPACE, RayDriver
from fleet.ray_link import RayLink


async def started(address: str, socket: str, model: str) -> asyncio.subprocess.Process:
    """Once the first part of its run has come."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", __name__, address, socket, model, stdout=pipe)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"it runs\n"
    return process


async def _run(address: str, socket: str, model: str) -> None:
    driver = RayDriver(lambda: ray.init(address=address, namespace=NAMESPACE, log_to_driver=False))
    async for _part in RayLink("box1", driver, socket).run(model, Generate("abc")):
        sys.stdout.write("it runs\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
