"""A fleet's Ray on this machine alone, whose parts can be killed one by one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import psutil
import ray
from ray.cluster_utils import Cluster
from ray.exceptions import RayError

from engine.paths import Paths, find_paths
from fleet.links import NodeLink
from fleet.ray_cluster import Membership
from fleet.ray_driver import RayDriver, attach
from fleet.ray_link import RayLink

NAMES: Final = ("box1", "box2", "box3")
_SMALL: Final = {"num_cpus": 0, "object_store_memory": 80_000_000}


class Boxes:
    """A head and three raylets, one for each box; engines are the tests' own, at `paths`."""

    def __init__(self, folder: Path, head: Membership) -> None:
        self.folder: Final = folder
        """Of the head, as its CITADEL_HOME."""
        self.head: Final = head
        self.driver: Final = RayDriver(partial(attach, head))
        self._raylets: Final[dict[str, Any]] = {}

    def __enter__(self) -> Boxes:
        # Ports of its own choice would be others after a restart.
        ports = {"gcs_server_port": self.head.first_port, "node_manager_port": self.head.raylet_port}
        head = {**_SMALL, **ports, "include_dashboard": False, "no_monitor": True}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        for box in NAMES:
            self.start_raylet(box)
        self._cluster.wait_for_nodes()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ray.shutdown()
        self._cluster.shutdown()

    def paths(self, box: str) -> Paths:
        """Of the engine of `box`."""
        return find_paths({"CITADEL_HOME": str(self.folder / box)})

    def link(self, box: str) -> RayLink:
        return RayLink(box, self.driver, str(self.paths(box).socket))

    def start_raylet(self, box: str) -> None:
        self._raylets[box] = self._cluster.add_node(wait=False, resources={f"citadel:{box}": 1}, **_SMALL)

    def kill_raylet(self, box: str) -> None:
        self._cluster.remove_node(self._raylets.pop(box), allow_graceful=False)

    async def kill_agent(self, box: str) -> None:
        ray.kill(await self.driver.agent(box, str(self.paths(box).socket)), no_restart=False)

    async def agents_answer(self) -> None:
        """Returns once that of each box does."""
        for box in NAMES:
            while True:
                with contextlib.suppress(RayError):
                    agent = await self.driver.agent(box, str(self.paths(box).socket))
                    await agent.leave.remote(b"what nobody asked for")
                    break
                await asyncio.sleep(0.1)

    def kill_control_store(self) -> None:
        self._cluster.head_node.kill_gcs_server()

    def start_control_store(self) -> None:
        """As a supervisor does; returns when it answers. It ends with the thread that starts it."""
        self._cluster.head_node.start_gcs_server()
        assert len(ray.nodes()) >= len(NAMES)

    def ports(self) -> list[tuple[str, int]]:
        """Where processes of Ray's listen."""
        children = psutil.Process().children(recursive=True)
        connections = (each for child in children for each in child.net_connections("tcp"))
        return [(str(each.laddr.ip), int(each.laddr.port)) for each in connections if each.status == psutil.CONN_LISTEN]


class RayLine(NamedTuple):
    """A box for a fleet of tests."""

    boxes: Boxes
    box: str

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[NodeLink]:
        yield self.boxes.link(self.box)
