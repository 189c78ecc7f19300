"""Boxes whose link is cut, or whose power goes, with Ray run as units run it: real links. Takes root, and minutes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.api import EngineUnreachable, Updated
from engine.client import RemoteEngine
from engine.core.commands import Load, Submission
from engine.core.serialization import from_json
from engine.paths import find_paths, fleet_paths
from engine.slab_peer import SlabOffer
from engine.weights.integrity import verify_checksum
from engine.weights.layout import SLAB_FILE
from engine.weights.slab import open_prepared
from tests.fleet_ray import hosts
from tests.fleet_ray.carried import NUMBERS
from tests.fleet_ray.hosts import Hosts
from tests.fleet_ray.test_service import home as home  # a fixture
from tests.patience import Patience
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving

pytestmark = [
    pytest.mark.skipif(not os.environ.get("FLEET_NET") or not hosts.can_be_made(), reason="takes root: make fleet-net"),
    pytest.mark.timeout(600),
]
BOXES = ("box2", "box3")
BACK_WITHIN_S = 25
"""After its link is back. A box that does not ask whether it was given up takes 33 to 49 s."""

_log = logging.getLogger(__name__)


class Network(NamedTuple):
    """The hosts, and their fleet as its service shows it. How long things took is logged."""

    hosts: Hosts
    fleet: RemoteEngine

    async def stands(self, box: str, *standings: str) -> float:
        """Wait until the box stands so; the seconds that it took."""
        since_s = time.monotonic()
        async with aclosing(self.fleet.events()) as events:
            async for event in events:
                if isinstance(event, Updated) and event.snapshot.boxes[box].standing in standings:
                    took_s = time.monotonic() - since_s
                    _log.info("%s is %s after %.1f s", box, event.snapshot.boxes[box].standing, took_s)
                    return took_s
        raise AssertionError("the fleet ended")

    async def others_answer(self) -> None:
        """Requests go to who is there, and none waits for who is not."""
        longest_s = 0.0
        for _ in range(20):
            since_s = time.monotonic()
            assert (await self.fleet.embed("bge-base", ["a"])).device.startswith("box2/")
            longest_s = max(longest_s, time.monotonic() - since_s)
        _log.info("the others answer within %.2f s", longest_s)


@pytest.fixture
async def network(home: Path) -> AsyncIterator[Network]:
    """Three boxes; the fleet's service is on the first, engines are outside, as they are when Ray ends."""
    async with contextlib.AsyncExitStack() as stack:
        made = await stack.enter_async_context(Hosts(home, 3))
        for number in (2, 3):
            there = find_paths({"CITADEL_HOME": str(made.home(number))})
            engine = ScriptedEngine()
            engine.pid = number
            await stack.enter_async_context(serving(engine, there))
        lines = "".join(f"  {box}: {{ray: {box}}}\n" for box in BOXES)
        (made.home(1) / "fleet.yaml").write_text(f"boxes:\n{lines}")
        for number in (1, 2, 3):
            await made.start_ray(number)
        await made.start_service()
        fleet = RemoteEngine(fleet_paths(find_paths({"CITADEL_HOME": str(made.home(1))})).socket)
        await _all_ready(fleet)
        await fleet.submit(Submission("net-1", Load("bge-base", "box2/gpu0")))
        yield Network(made, fleet)


async def _all_ready(fleet: RemoteEngine) -> None:
    patience = Patience(60)
    while patience:
        with contextlib.suppress(EngineUnreachable):
            if {box.standing for box in (await fleet.snapshot()).boxes.values()} == {"ready"}:
                return
        await asyncio.sleep(0.2)
    raise AssertionError("not all boxes came up")


@pytest.mark.parametrize("cut_s", [5, 25])
async def test_a_link_that_is_cut_holds_up_nobody_and_its_box_comes_back(network: Network, cut_s: float) -> None:
    network.hosts.cut(3)
    mended = asyncio.create_task(asyncio.sleep(cut_s))
    await network.stands("box3", "silent", "unreachable")
    await network.others_answer()
    await mended
    network.hosts.mend(3)
    assert await network.stands("box3", "ready") < BACK_WITHIN_S


async def test_a_slab_on_its_way_over_a_link_that_is_cut_goes_on_where_it_was(home: Path) -> None:
    async with Hosts(home, 2) as made:
        made.slow_down(2, 40)
        donor = await made.run(1, "tests.fleet_ray.carried", "offer", str(home), hosts.address(1))
        while not (home / "offer.json").exists():
            assert donor.returncode is None
            await asyncio.sleep(0.1)
        fetching = await made.run(2, "tests.fleet_ray.carried", "fetch", str(home))
        while _there_bytes(home / "cache" / "fetched") < NUMBERS.nbytes / 4:
            assert fetching.returncode is None
            await asyncio.sleep(0.05)
        made.cut(2)
        await asyncio.sleep(5)
        assert NUMBERS.nbytes / 4 <= _there_bytes(home / "cache" / "fetched") < NUMBERS.nbytes
        made.mend(2)
        assert await fetching.wait() == 0
        came_bytes, seconds = (home / "box2.log").read_text().split()[-2:]
        _log.info("%s bytes came in %s s, 5 of these without a link", came_bytes, seconds)
        offered = from_json((home / "offer.json").read_bytes(), SlabOffer)
        assert int(came_bytes) == sum(file.size_bytes for file in offered.files)
        verify_checksum(open_prepared(home / "cache" / "prepared" / "m"), lambda _: None)


def _there_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob(SLAB_FILE))


async def test_a_box_whose_power_goes_holds_up_nobody_and_comes_back(network: Network) -> None:
    network.hosts.power_off(3)
    await network.stands("box3", "silent", "unreachable")
    await network.others_answer()
    await network.stands("box3", "unreachable")
    await network.hosts.start_ray(3)
    await network.stands("box3", "ready")


async def test_a_head_whose_ray_is_killed_fails_no_request(network: Network) -> None:
    network.hosts.power_off(1)
    await network.others_answer()
    await network.hosts.start_ray(1)
    await network.others_answer()
    await network.stands("box2", "ready")
