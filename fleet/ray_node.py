"""`python -m fleet.ray_node`: Ray on this box, in the foreground. Started again whenever it ends, as it does by itself when it
was cut off from its head; ended with this process. The box's engine is no part of it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

from engine.api import EngineError
from engine.child_environment import child_environment
from engine.paths import find_paths
from engine.service.systemd import READY, log_format, notify
from engine.ssh_forward import end_with_parent
from fleet.listening import listening
from fleet.ray_cluster import RayFolder, checked_membership, environment, start_command

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 15.0
_WELL_S: Final = 60.0
"""Who ran for so long was well: the next one is started soon."""
_ENDS_WITHIN_S: Final = 15.0

_log: Final = logging.getLogger("fleet.ray")


def main() -> int:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_format(os.environ, sys.stderr.fileno()))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        asyncio.run(_keep_running())
    except EngineError as error:
        _log.error("%s", error)
        return 1
    return 0


async def _keep_running() -> None:
    """Until a signal. Raises EngineError for what no next try would mend."""
    ending = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, ending.set)
    pause_s = _FIRST_PAUSE_S
    while not ending.is_set():
        since_s = time.monotonic()
        await _run_once(ending)
        if time.monotonic() - since_s > _WELL_S:
            pause_s = _FIRST_PAUSE_S
        await _either(ending, asyncio.sleep(pause_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def _run_once(ending: asyncio.Event) -> None:
    """Ray from its start to its end, or to ours."""
    paths = find_paths(os.environ)
    membership, folder = checked_membership(paths), RayFolder(paths)
    if busy := sorted({each.port for each in listening() if each.port in membership.ports}):
        # Ray would take its own failure for a bug of its own.
        taken = ", ".join(map(str, busy))
        _log.error("Ray is not started: somebody listens on %s, where it would; end them. It is tried again", taken)
        return
    given = child_environment(os.environ, **environment(membership, folder))
    process = await asyncio.create_subprocess_exec(
        *start_command(membership, folder), env=given, start_new_session=True, preexec_fn=end_with_parent
    )
    _log.info("Ray starts on %s, whose head is %s", membership.box, membership.head)
    notify(os.environ, READY)
    await _either(ending, process.wait())
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(_ENDS_WITHIN_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
    _log.info("Ray has ended with status %s", process.returncode)
    # Its own helpers notice only after a minute that it is gone, and keep its ports until then.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _either(ending: asyncio.Event, work: Coroutine[Any, Any, object]) -> None:
    tasks = {asyncio.ensure_future(ending.wait()), asyncio.ensure_future(work)}
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    sys.exit(main())
