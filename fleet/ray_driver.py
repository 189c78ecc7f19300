"""This process as a driver of Ray: attached once, when the first agent is asked for, and never in the loop's thread, which Ray
would hold up while its head does not answer."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from engine.api import EngineUnreachable
from engine.core.names import BoxName
from fleet.ray_agent import Agent
from fleet.ray_cluster import RESOURCE, Membership

NAMESPACE: Final = "citadel"
_SHARE: Final = 0.001
_LISTENS_WITHIN_S: Final = 2.0
_AT_ONCE: Final = 1000
"""Requests that an agent carries side by side."""


def attach(membership: Membership) -> None:
    """Make this process, which has `become_driver`'s settings, a driver of the fleet's Ray by this box's raylet. Raises what Ray
    raises, after some time, and OSError at once where either does not listen: it would be waited for."""
    head, port = membership.head.rsplit(":", 1)
    for address in ((head, int(port)), (membership.address, membership.raylet_port)):
        socket.create_connection(address, _LISTENS_WITHIN_S).close()
    ray.init(
        address=membership.head,
        namespace=NAMESPACE,
        log_to_driver=False,
        logging_level=logging.WARNING,
        _node_ip_address=membership.address,
    )


class RayDriver:
    """Where agents are found. `attach` makes this process a driver; it runs in a thread, and may raise what Ray raises."""

    def __init__(self, attach: Callable[[], object]) -> None:
        self._attach: Final = attach
        self._one_at_a_time: Final = ThreadPoolExecutor(1, "ray")

    async def agent(self, box: BoxName, engine: str) -> ActorHandle[Any]:
        """The agent of `box`: the one that is there, or a new one for that socket. Raises EngineUnreachable, RayError."""
        return await asyncio.get_running_loop().run_in_executor(self._one_at_a_time, self._found, box, engine)

    async def address(self, box: BoxName) -> str:
        """Where the raylet of `box` is; empty where Ray knows of none that lives."""
        return await asyncio.get_running_loop().run_in_executor(self._one_at_a_time, _address, RESOURCE.format(box=box))

    def _found(self, box: BoxName, engine: str) -> ActorHandle[Any]:
        try:
            if not ray.is_initialized():
                self._attach()
        except (RayError, OSError, RuntimeError, ValueError) as error:
            raise EngineUnreachable(
                f"Ray can't be reached from this box ({error}); `citadel fleet doctor` says why"
            ) from error
        name = RESOURCE.format(box=box)
        kept = {"name": name, "namespace": NAMESPACE, "get_if_exists": True, "lifetime": "detached"}
        # A call that broke off is never made again by Ray: whether it may be is for its caller to know.
        again = {"max_restarts": -1, "max_task_retries": 0}
        placed = {"num_cpus": 0, "resources": {name: _SHARE}, "max_concurrency": _AT_ONCE}
        made: ActorHandle[Any] = ray.remote(Agent).options(**kept, **again, **placed).remote(engine)
        return made


def _address(resource: str) -> str:
    with suppress(RayError):
        alive = [node for node in ray.nodes() if node["Alive"] and resource in node["Resources"]]
        return next((str(node["NodeManagerAddress"]) for node in alive), "")
    return ""
