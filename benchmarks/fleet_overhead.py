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
from engine.client import RemoteEngine, connect
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
        homes = {name: _paths(Path(folder, name)) for name in ("box1", "box2")}
        processes = {name: stack.enter_context(_engine(paths)) for name, paths in homes.items()}
        for paths in homes.values():
            await _answering(paths)
        here = Path(folder, "here")
        _write_file(here, homes)
        stack.enter_context(_process(here, "fleet.service"))
        fleet = await _answering(fleet_paths(_paths(here)))
        await fleet.submit(Submission("load", Load(MODEL, "box1/gpu0")))
        await _compared(RemoteEngine(homes["box1"].socket), fleet, rounds)
        await _with_a_death(fleet, homes, processes, stack)


def _write_file(here: Path, homes: dict[BoxName, Paths]) -> None:
    here.mkdir()
    lines = [f"  {name}: {{socket: {paths.socket}}}\n" for name, paths in homes.items()]
    (here / "fleet.yaml").write_text(f"boxes:\n{''.join(lines)}")


async def _compared(direct: RemoteEngine, fleet: RemoteEngine, rounds: int) -> None:
    ways = {"direct": direct, "fleet": fleet}
    _say("| call | direct, ms min / p50 | through the fleet | ratio min / p50 |\n|---|--:|--:|--:|\n")
    calls: dict[str, Callable[[RemoteEngine], Awaitable[object]]] = {
        "hello": lambda engine: engine.hello(),
        "embed": lambda engine: engine.embed(MODEL, TEXTS),
    }
    for name, call in calls.items():
        took: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(rounds + 10):
            for way, engine in ways.items():
                began_s = time.perf_counter()
                await call(engine)
                if number >= 10:
                    took[way].append(1000 * (time.perf_counter() - began_s))
        one, other = took["direct"], took["fleet"]
        ratio = f"{min(other) / min(one):.2f} / {median(other) / median(one):.2f}"
        _say(f"| {name} | {min(one):.2f} / {median(one):.2f} | {min(other):.2f} / {median(other):.2f} | {ratio} |\n")


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
    _say(f"\n{was}'s engine killed: the next request was answered on {answer.device} after {_since(began_s)}\n")
    seen = await _shown(fleet, lambda snapshot: snapshot.boxes[was].standing == "unreachable")
    _say(f"{was} is shown {seen.boxes[was].standing} after {_since(began_s)}: {seen.boxes[was].why}\n")
    processes[was].wait()
    began_s = time.perf_counter()
    stack.enter_context(_engine(homes[was]))
    await _answering(homes[was])
    _say(f"{was}'s engine answers again after {_since(began_s)}, and ")
    await _shown(fleet, lambda snapshot: snapshot.boxes[was].standing == "ready")
    _say(f"the fleet has it ready after {_since(began_s)}; ")
    back = await _shown(fleet, lambda s: any(r.stage == "ready" and box_of(r.device) == was for r in s.state.of(MODEL)))
    devices = ", ".join(resident.device for resident in back.state.of(MODEL))
    _say(f"{MODEL} is on {devices} after {_since(began_s)}\n")


async def _shown(fleet: RemoteEngine, met: Callable[[Snapshot], bool]) -> Snapshot:
    async with contextlib.aclosing(fleet.events()) as events:
        async for event in events:
            if isinstance(event, Updated) and met(event.snapshot):
                return event.snapshot
    raise AssertionError("the fleet ended")


def _paths(home: Path) -> Paths:
    return find_paths({"CITADEL_HOME": str(home)})


def _engine(paths: Paths) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    return _process(paths.run.parent, "engine.service", "--config", str(CONFIG))


@contextlib.contextmanager
def _process(home: Path, module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    home.mkdir(exist_ok=True)
    with open(home / "log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            env=child_environment(os.environ, CITADEL_HOME=str(home)),
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


async def _answering(paths: Paths) -> RemoteEngine:
    began_s = time.monotonic()
    while time.monotonic() - began_s < _STARTS_WITHIN_S:
        with contextlib.suppress(EngineUnreachable):
            return await connect(paths)
        await asyncio.sleep(0.05)
    raise EngineError(f"nothing answers at {paths.socket}; look at {paths.run.parent / 'log'}")


def _since(began_s: float) -> str:
    return f"{time.perf_counter() - began_s:.2f} s"


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
