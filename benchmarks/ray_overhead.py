"""What a call pays for going through Ray, which must be installed: `python -m benchmarks.ray_overhead`.

An engine on virtual GPUs of this machine, and Ray as a box's unit runs it, on loopback, with a token and certificates, each a
process of its own. This process, a driver as the fleet's service is one, asks the engine who it is, for its snapshot and to embed
one text, at the engine's socket and through the box's agent, in turn; and the agent for what it answers without the engine, which
is what Ray itself takes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from benchmarks.fleet_overhead import MODEL, answering, compared, engine, paths_of, process, say
from engine.api import EngineError, EngineUnreachable
from engine.client import EngineClient, RemoteEngine
from engine.core.commands import Load, Submission
from engine.paths import Paths
from fleet.ray_cluster import Membership, become_driver
from tests.fleet_ray.conftest import begun

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from fleet.ray_driver import RayDriver

BOX: Final = "box1"
_STARTS_WITHIN_S: Final = 120.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=400, metavar="N", help="of each call on each way (400)")
    asyncio.run(_measured(parser.parse_args().rounds))
    return 0


async def _measured(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder, contextlib.ExitStack() as stack:
        home = paths_of(Path(folder))
        membership = begun(Path(folder), BOX)
        stack.enter_context(engine(home))
        stack.enter_context(process(Path(folder), "fleet.ray_node"))
        direct = await answering(home)
        await direct.submit(Submission("load", Load(MODEL, "gpu0")))
        driver, through_ray = _driver_and_link(home, membership)
        await _answers(through_ray)
        await compared({"direct": RemoteEngine(home.socket), "through Ray": through_ray}, rounds)
        await _alone(await driver.agent(BOX, str(home.socket)), rounds)


async def _alone(agent: ActorHandle[Any], rounds: int) -> None:
    """How long the agent takes for a call that comes to nothing."""
    took: list[float] = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        await agent.more.remote(b"no such answer")
        took.append(1000 * (time.perf_counter() - began_s))
    say(f"\na call to the agent that asks no engine: {min(took):.2f} / {median(took):.2f} ms\n")


def _driver_and_link(home: Paths, membership: Membership) -> tuple[RayDriver, EngineClient]:
    """The way through Ray. This process becomes a driver of it with the first call."""
    become_driver(home)
    # Not before: Ray reads its settings once, when it is imported.
    from fleet.ray_driver import RayDriver, attach
    from fleet.ray_link import RayLink

    driver = RayDriver(lambda: attach(membership))
    return driver, RayLink(BOX, driver, str(home.socket))


async def _answers(link: EngineClient) -> None:
    """Wait until the box's agent is there."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < _STARTS_WITHIN_S:
        with contextlib.suppress(EngineUnreachable):
            await link.hello()
            return
        await asyncio.sleep(0.5)
    raise EngineError(f"{BOX} does not answer through Ray")


if __name__ == "__main__":
    sys.exit(main())
