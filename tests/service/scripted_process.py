"""A process that serves a scripted engine, started as the real one is. What `--config` names decides how the start goes."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import msgspec

from engine.lock import sole_engine
from engine.paths import find_paths, make_folders
from engine.service.serve import serve
from engine.wire import StartReport
from tests.scripted_engine import ScriptedEngine


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    parser.add_argument("--report-fd", type=int)
    arguments = parser.parse_args()
    paths = find_paths(os.environ)
    make_folders(paths)

    def tell(ready: bool, message: str = "") -> None:
        if arguments.report_fd is not None:
            os.write(arguments.report_fd, msgspec.json.encode(StartReport(ready, message)))
            os.close(arguments.report_fd)

    match arguments.config.name if arguments.config else "":
        case "refused":
            tell(False, "config/gpu_allocation.yaml: memory_fraction is 1.4")
        case "crashes":
            sys.exit("ImportError: no module named torch")
        case _:
            with sole_engine(paths) as lock:
                await serve(ScriptedEngine(), paths, lock, on_ready=lambda: tell(True))


if __name__ == "__main__":
    asyncio.run(main())
