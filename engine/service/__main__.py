"""`python -m engine.service --config DIR`: the engine's process. Logs to stderr; ends on a signal or a client's stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from engine.api import EngineError
from engine.core.serialization import to_json
from engine.paths import Paths, find_paths, make_folders
from engine.process import sole_engine
from engine.prompt_loop import keep_loop_prompt
from engine.runtime.start import started
from engine.service.serve import serve
from engine.service.systemd import READY, STOPPING, keep_telling, log_format, notify
from engine.wire import StartReport

_log: Final = logging.getLogger("engine")


def main() -> int:
    arguments = _parser().parse_args()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_format(os.environ, sys.stderr.fileno()))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    tell = _reporter(arguments.report_fd)
    try:
        paths = find_paths(os.environ)
        make_folders(paths)
        keep_loop_prompt()
        with sole_engine(paths):
            asyncio.run(_run(arguments.config, paths, lambda: tell(StartReport(ready=True))))
    except EngineError as error:
        _log.error("%s", error)
        tell(StartReport(ready=False, message=str(error)))
        return 1
    return 0


async def _run(config: Path, paths: Paths, tell_starter: Callable[[], None]) -> None:
    def on_ready() -> None:
        tell_starter()
        notify(os.environ, READY)

    def on_stopping() -> None:
        notify(os.environ, STOPPING)

    begun = await started(config, os.environ)
    engine = begun.engine
    serving = asyncio.create_task(
        serve(engine, paths, http=begun.settings.http, on_ready=on_ready, on_stopping=on_stopping), name="serving"
    )
    living = asyncio.create_task(engine.ended(), name="living")
    telling = asyncio.create_task(keep_telling(os.environ), name="telling the service manager")
    await asyncio.wait((serving, living), return_when=asyncio.FIRST_COMPLETED)
    telling.cancel()
    if living.done() and not serving.done() and (defect := living.exception()):
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        raise EngineError(
            "the engine broke and has ended; the lines above say why. What was resident is in the journal"
        ) from defect
    await serving
    await living


def _reporter(descriptor: int | None) -> Callable[[StartReport], None]:
    """Writes the first report to the descriptor and closes it; says nothing when nobody gave one."""
    listeners = [] if descriptor is None else [descriptor]

    def tell(report: StartReport) -> None:
        while listeners:
            with open(listeners.pop(), "wb") as pipe:
                pipe.write(to_json(report))

    return tell


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine.service", description="Run the allocation engine.")
    parser.add_argument("--config", type=Path, required=True, metavar="DIR", help="folder of gpu_allocation.yaml")
    parser.add_argument("--report-fd", type=int, metavar="N", help="descriptor to report the start's success on")
    return parser


if __name__ == "__main__":
    sys.exit(main())
