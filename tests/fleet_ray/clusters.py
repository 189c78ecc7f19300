"""A fleet's Ray on this machine alone, whose parts can be killed one by one."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import psutil
import ray
from ray.cluster_utils import Cluster

from engine.paths import Paths, find_paths
from fleet.ray_driver import NAMESPACE, RayDriver
from fleet.ray_link import RayLink

NAMES: Final = ("box1", "box2", "box3")
_SMALL: Final = {"num_cpus": 0, "object_store_memory": 80_000_000}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Boxes:
    """A head and three raylets, one for each box; engines are the tests' own, at `paths`."""

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder
        self.driver: Final = RayDriver(self._attach)
        self._raylets: Final[dict[str, Any]] = {}

    def __enter__(self) -> Boxes:
        # A port of its own choice would be another one after a restart.
        head = {**_SMALL, "gcs_server_port": _free_port(), "include_dashboard": False, "no_monitor": True}
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

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def paths(self, box: str) -> Paths:
        """Of the engine of `box`."""
        return find_paths({"CITADEL_HOME": str(self._folder / box)})

    def link(self, box: str) -> RayLink:
        return RayLink(box, self.driver, str(self.paths(box).socket))

    def start_raylet(self, box: str) -> None:
        self._raylets[box] = self._cluster.add_node(wait=False, resources={f"citadel:{box}": 1}, **_SMALL)

    def kill_raylet(self, box: str) -> None:
        self._cluster.remove_node(self._raylets.pop(box), allow_graceful=False)

    async def kill_agent(self, box: str) -> None:
        ray.kill(await self.driver.agent(box, str(self.paths(box).socket)), no_restart=False)

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

    def _attach(self) -> None:
        ray.init(address=self.address, namespace=NAMESPACE, log_to_driver=False, logging_level="error")
