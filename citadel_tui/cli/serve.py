"""`citadel serve`, `stop` and `restart-worker`: the engine's process in the foreground, its end, and another of its workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from functools import reduce
from pathlib import Path

from citadel_tui.cli.engine import attached, check_device, our_paths, restored
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import agreed, progress, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.values import device
from citadel_tui.text import clean, clean_lines
from citadel_tui.words.figures import running_text, seconds_text
from citadel_tui.words.labels import labels
from citadel_tui.words.plans import restart_words
from engine.api import EngineError, Snapshot, Updated
from engine.client import RemoteEngine
from engine.core.forecast.run_costs import drain_s
from engine.core.names import DeviceId
from engine.core.prediction import NOTHING, Prediction
from engine.process import ENGINE_PROGRAM, end_engine


class ServeArguments(Arguments, frozen=True, kw_only=True):
    http: str | None


class StopArguments(Arguments, frozen=True, kw_only=True):
    now: bool


class RestartArguments(Arguments, frozen=True, kw_only=True):
    device: DeviceId
    yes: bool
    """Whether the operator has agreed beforehand."""


def add_arguments(command: CommandParser) -> None:
    match command.name:
        case "serve":
            command.add_argument(
                "--http", metavar="HOST:PORT", help="serve applications there, as http.listen says otherwise"
            )
            command.carried_out_by(_serve, ServeArguments)
        case "stop":
            command.add_argument("--now", action="store_true", help="end the requests that run, don't wait for them")
            command.carried_out_by(_stop, StopArguments)
        case _:
            command.add_argument("device", type=device)
            command.add_argument("--yes", "-y", action="store_true", help="don't ask, whatever is there")
            command.carried_out_by(_restart, RestartArguments)


def _serve(arguments: ServeArguments) -> int:
    """Become the engine: signals, and a service manager's idea of the process, then need no passing on."""
    from engine.settings import find_config_folder

    folder = find_config_folder(arguments.config, os.environ, Path.cwd())
    if arguments.http is not None:
        os.environ["CITADEL_LISTEN"] = arguments.http  # checked where all settings are
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *ENGINE_PROGRAM, "--config", str(folder)])


# ── its end ──────────────────────────────────────────────────────────────────────────────────────


def _stop(arguments: StopArguments) -> int:
    return asyncio.run(_end_engine(now=arguments.now))


async def _end_engine(*, now: bool) -> Exit:
    paths = our_paths()
    showing = None if now else asyncio.create_task(_show_what_runs(RemoteEngine(paths.socket)))
    try:
        await end_engine(paths, now=now, tell=tell)
    finally:
        if showing is not None:
            showing.cancel()
            await asyncio.wait({showing})
    print("the engine has ended")
    return Exit.DONE


async def _show_what_runs(engine: RemoteEngine) -> None:
    """Say what the end waits for, if it does, and how much of that is left."""
    # An engine of another version can be ended, but not looked at.
    with contextlib.suppress(EngineError):
        if not (runs := _runs(await engine.snapshot())):
            return
        tell(
            f"waiting for {runs}, at most loading.drain_deadline_s; nothing new is taken. `citadel stop --now` ends them"
        )
        with progress() as show:
            async with contextlib.aclosing(engine.events()) as events:
                async for event in events:
                    if isinstance(event, Updated):
                        show(_runs(event.snapshot))


def _runs(snapshot: Snapshot) -> str:
    """ "2 running requests, about 3.1 s"; empty when nothing runs."""
    state = snapshot.state
    in_use = [resident for resident in state.residents if resident.leases]
    if not in_use:
        return ""
    takes = reduce(Prediction.beside, (drain_s(state, r.model, r.device) for r in in_use), NOTHING)
    return f"{running_text(sum(r.leases for r in in_use))}, about {seconds_text(takes.p50_s)}"


# ── another worker ───────────────────────────────────────────────────────────────────────────────


def _restart(arguments: RestartArguments) -> int:
    return asyncio.run(_restarted(arguments))


async def _restarted(arguments: RestartArguments) -> Exit:
    where = arguments.device
    async with attached(arguments) as engine:
        before = await engine.snapshot()
        check_device(before, where)
        words = restart_words(before.state, where, labels(before.state))
        if words and not arguments.yes:
            tell(f"another worker for {where} needs your yes:")
            print(clean_lines("\n".join(words)), flush=True)
            if not agreed():
                return Exit.NOT_CONFIRMED
        await engine.restart_worker(where)
        after = await restored(engine)
    held = [r.model for r in before.state.on(where) if r.stage in ("ready", "draining")]
    back = [model for model in held if after.state.find(model, where)]
    print(clean(f"the worker of {where} was restarted" + (f"; {', '.join(back)} came back" if back else "")))
    gone = [model for model in held if model not in back]
    if gone:
        tell(f"{', '.join(gone)} did not come back to {where}; `citadel log` says why")
    return Exit.FAILED if gone else Exit.DONE
