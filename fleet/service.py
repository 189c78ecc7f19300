"""`python -m fleet.service`: the fleet's process. It listens at a socket of its own beside the engine's, logs to stderr, and ends
on a signal or a client's stop; the engines go on."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from engine.api import PROTOCOL, Hello
from engine.clock import SystemClock
from engine.core.names import BoxName
from engine.lock import EngineLock
from engine.paths import Paths, find_paths, fleet_file, fleet_paths
from engine.prompt_loop import keep_loop_prompt
from engine.service.process import run_service
from engine.service.systemd import READY, STOPPING, keep_telling, notify
from engine.version import VERSION
from fleet.engine import FleetEngine
from fleet.following import Boxed, Following
from fleet.links import LOOPBACK, NodeLink, link_over_ssh, link_to_socket
from fleet.ray_cluster import RayFolder, become_driver
from fleet.settings import BoxEntry, FleetSettings, load_fleet

_OTHER_DOOR: Final = (
    "http in fleet.yaml is not what the service began with, and holds from its next start: `citadel fleet stop`, then start"
    " it again"
)

_log: Final = logging.getLogger("fleet")


def main() -> int:
    arguments = _parser().parse_args()
    file = arguments.file or fleet_file(os.environ)
    return run_service(_log, arguments.report_fd, lambda: fleet_paths(find_paths(os.environ)), partial(_run, file))


async def _run(file: Path, paths: Paths, lock: EngineLock, tell_starter: Callable[[], None]) -> None:
    own = find_paths(os.environ)

    def on_ready() -> None:
        tell_starter()
        notify(os.environ, READY)

    clock = SystemClock()
    settings, following = load_fleet(file), Following(clock)

    async def read_again() -> tuple[str, ...]:
        now = load_fleet(file)
        following.adopt(_boxed(now, own), now.rules)
        return () if now.http == settings.http else (_OTHER_DOOR,)

    following.adopt(_boxed(settings, own), settings.rules)
    hello = Hello(PROTOCOL, VERSION, socket.gethostname(), os.getpid(), clock.now(), str(file))
    fleet = FleetEngine(hello, following, clock, Random(), read_again)
    telling = asyncio.create_task(keep_telling(os.environ), name="telling the service manager")
    try:
        serve = await asyncio.to_thread(_server)
        keep_loop_prompt()
        await following.shown()
        for remark in following.remarks():
            _log.warning("%s", remark)
        await serve(
            fleet,
            paths,
            lock,
            http=settings.http,
            on_ready=on_ready,
            on_stopping=partial(notify, os.environ, STOPPING),
        )
    finally:
        await fleet.stop(now=True)
        telling.cancel()


def _server() -> Callable[..., Coroutine[Any, Any, None]]:
    from engine.service.serve import serve  # half of what a start takes, for which boxes are on their way meanwhile

    return serve


def _boxed(settings: FleetSettings, own: Paths) -> Sequence[Boxed]:
    return [
        Boxed(name, partial(_link, name, entry, own), entry.drained, entry.address)
        for name, entry in settings.boxes.items()
    ]


def _link(name: BoxName, entry: BoxEntry, own: Paths) -> AbstractAsyncContextManager[NodeLink]:
    """Raises FleetRefused for a box beyond Ray where this one has none."""
    if entry.ray is not None:
        membership = become_driver(own)
        # Only now: it is imported where a box is reached by it, and reads its settings once.
        from fleet.ray_link import link_over_ray

        return link_over_ray(name, membership, entry.socket or "")
    if entry.ssh is not None:
        return link_over_ssh(entry.ssh, own, entry.socket or "")
    in_ray = RayFolder(own).read()
    socket = own.socket if entry.socket is None else Path(entry.socket)
    return link_to_socket(socket, LOOPBACK if in_ray is None else in_ray.address)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fleet.service", description="Run the fleet's service.")
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="the fleet's settings, in the place of the user's own"
    )
    parser.add_argument("--report-fd", type=int, metavar="N", help="descriptor to report the start's success on")
    return parser


if __name__ == "__main__":
    sys.exit(main())
