"""`python -m engine.service --config DIR`: the engine's process. Logs to stderr; ends on a signal or a client's stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from engine.api import EngineError
from engine.lock import EngineLock
from engine.paths import Paths, find_paths
from engine.prompt_loop import keep_loop_prompt
from engine.runtime.start import started
from engine.service.process import run_service
from engine.service.serve import serve
from engine.service.systemd import READY, STOPPING, keep_telling, notify

_ENDS_WITHIN_S: Final = 30.0
"""Once nothing runs any more, or is waited for."""

_log: Final = logging.getLogger("engine")


def main() -> int:
    arguments = _parser().parse_args()
    return run_service(_log, arguments.report_fd, lambda: find_paths(os.environ), partial(_run, arguments.config))


async def _run(config: Path, paths: Paths, lock: EngineLock, tell_starter: Callable[[], None]) -> None:
    keep_loop_prompt()

    def on_ready() -> None:
        tell_starter()
        notify(os.environ, READY)

    def on_stopping() -> None:
        notify(os.environ, STOPPING)
        _end_at_last(begun.settings.loading.drain_deadline_s + _ENDS_WITHIN_S)

    begun = await started(config, os.environ)
    engine = begun.engine
    http, slabs = begun.settings.http, begun.exchange
    serving = asyncio.create_task(
        serve(engine, paths, lock, http=http, slabs=slabs, on_ready=on_ready, on_stopping=on_stopping), name="serving"
    )
    living = asyncio.create_task(engine.ended(), name="living")
    telling = asyncio.create_task(keep_telling(os.environ), name="telling the service manager")
    await asyncio.wait((serving, living), return_when=asyncio.FIRST_COMPLETED)
    telling.cancel()
    await slabs.close()
    if living.done() and not serving.done() and (defect := living.exception()):
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        raise EngineError(
            "the engine broke and has ended; the lines above say why. What was resident is kept"
        ) from defect
    await serving
    await living


def _end_at_last(after_s: float) -> None:
    """Whatever hangs then, such as a thread that waits for a disk, keeps nobody from starting another engine."""

    def end() -> None:
        _log.critical("something hangs: the engine did not end in order within %.0f s, and ends as it is", after_s)
        os._exit(1)

    watch = threading.Timer(after_s, end)
    watch.daemon = True
    watch.start()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine.service", description="Run the allocation engine.")
    parser.add_argument("--config", type=Path, required=True, metavar="DIR", help="folder of gpu_allocation.yaml")
    parser.add_argument("--report-fd", type=int, metavar="N", help="descriptor to report the start's success on")
    return parser


if __name__ == "__main__":
    sys.exit(main())
