"""What a request pays for going through a fleet: `python -m benchmarks.fleet_overhead`.

Two engines on virtual GPUs of this machine and the fleet's service over both, each a process. One text is embedded, and each is
asked who it is, by the engine's own socket and by the fleet's, in turn. Then the engine that answered is killed, the next request
goes to the other, and the first is brought back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Final

from engine.api import EngineError, EngineUnreachable, Snapshot, Updated
from engine.child_environment import child_environment
from engine.client import EngineClient, RemoteEngine, connect
from engine.core.commands import Load, Submission
from engine.core.names import BoxName, box_of
from engine.paths import Paths, find_paths, fleet_paths

MODEL: Final = "all-MiniLM-L6-v2"
TEXTS: Final = ["a small text to embed"]
CONFIG: Final = Path(__file__).parents[1] / "config"
_STARTS_WITHIN_S: Final = 120.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, metavar="N", help="of each call on each way (200)")
    asyncio.run(_measured(parser.parse_args().rounds))
    return 0


async def _measured(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder, contextlib.ExitStack() as stack:
        homes = {name: paths_of(Path(folder, name)) for name in ("box1", "box2")}
        processes = {name: stack.enter_context(engine(paths)) for name, paths in homes.items()}
        for paths in homes.values():
            await answering(paths)
        here = Path(folder, "here")
        _write_file(here, homes)
        stack.enter_context(process(here, "fleet.service"))
        fleet = await answering(fleet_paths(paths_of(here)))
        await fleet.submit(Submission("load", Load(MODEL, "box1/gpu0")))
        await compared({"direct": RemoteEngine(homes["box1"].socket), "through the fleet": fleet}, rounds)
        await _with_a_death(fleet, homes, processes, stack)


def _write_file(here: Path, homes: dict[BoxName, Paths]) -> None:
    here.mkdir()
    lines = [f"  {name}: {{socket: {paths.socket}}}\n" for name, paths in homes.items()]
    (here / "fleet.yaml").write_text(f"boxes:\n{''.join(lines)}")


async def compared(ways: dict[str, EngineClient], rounds: int) -> None:
    """Ask `rounds` times on each of two ways, in turn. Say how long that took, in milliseconds, and the second's over the
    first's."""
    first, second = ways
    say(f"| call | {first}, ms min / p50 | {second} | ratio min / p50 |\n|---|--:|--:|--:|\n")
    calls: dict[str, Callable[[EngineClient], Awaitable[object]]] = {
        "hello": lambda engine: engine.hello(),
        "snapshot": lambda engine: engine.snapshot(),
        "embed": lambda engine: engine.embed(MODEL, TEXTS),
    }
    for name, call in calls.items():
        took: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(rounds + 10):
            for way, asked in ways.items():
                began_s = time.perf_counter()
                await call(asked)
                if number >= 10:
                    took[way].append(1000 * (time.perf_counter() - began_s))
        one, other = took[first], took[second]
        ratio = f"{min(other) / min(one):.2f} / {median(other) / median(one):.2f}"
        say(f"| {name} | {min(one):.2f} / {median(one):.2f} | {min(other):.2f} / {median(other):.2f} | {ratio} |\n")


async def _with_a_death(
    fleet: RemoteEngine,
    homes: dict[BoxName, Paths],
    processes: dict[BoxName, subprocess.Popen[bytes]],
    stack: contextlib.ExitStack,
) -> None:
    was = box_of((await fleet.embed(MODEL, TEXTS)).device)
    began_s = time.perf_counter()
    processes[was].send_signal(signal.SIGKILL)
    answer = await fleet.embed(MODEL, TEXTS)
    say(f"\n{was}'s engine killed: the next request was answered on {answer.device} after {_since(began_s)}\n")
    seen = await _shown(fleet, lambda snapshot: snapshot.boxes[was].standing == "unreachable")
    say(f"{was} is shown {seen.boxes[was].standing} after {_since(began_s)}: {seen.boxes[was].why}\n")
    processes[was].wait()
    began_s = time.perf_counter()
    stack.enter_context(engine(homes[was]))
    await answering(homes[was])
    say(f"{was}'s engine answers again after {_since(began_s)}, and ")
    await _shown(fleet, lambda snapshot: snapshot.boxes[was].standing == "ready")
    say(f"the fleet has it ready after {_since(began_s)}; ")
    back = await _shown(fleet, lambda s: any(r.stage == "ready" and box_of(r.device) == was for r in s.state.of(MODEL)))
    devices = ", ".join(resident.device for resident in back.state.of(MODEL))
    say(f"{MODEL} is on {devices} after {_since(began_s)}\n")


async def _shown(fleet: RemoteEngine, met: Callable[[Snapshot], bool]) -> Snapshot:
    async with contextlib.aclosing(fleet.events()) as events:
        async for event in events:
            if isinstance(event, Updated) and met(event.snapshot):
                return event.snapshot
    raise AssertionError("the fleet ended")


def paths_of(home: Path) -> Paths:
    return find_paths({"CITADEL_HOME": str(home)})


def engine(paths: Paths) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    return process(paths.run.parent, "engine.service", "--config", str(CONFIG))


@contextlib.contextmanager
def process(home: Path, module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    home.mkdir(exist_ok=True)
    with open(home / "log", "ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            env=child_environment(os.environ, CITADEL_HOME=str(home)),
            stdout=log,
            stderr=log,
        )
    try:
        yield started
    finally:
        started.terminate()
        started.wait()


async def answering(paths: Paths) -> RemoteEngine:
    began_s = time.monotonic()
    while time.monotonic() - began_s < _STARTS_WITHIN_S:
        with contextlib.suppress(EngineUnreachable):
            return await connect(paths)
        await asyncio.sleep(0.05)
    raise EngineError(f"nothing answers at {paths.socket}; look at {paths.run.parent / 'log'}")


def _since(began_s: float) -> str:
    return f"{time.perf_counter() - began_s:.2f} s"


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
