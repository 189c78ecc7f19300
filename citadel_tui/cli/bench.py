"""`citadel bench`: how long switches take here, model by model and device by device; puts back what it moved.

`citadel bench compare A B` holds two saved runs against each other.
"""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import msgspec

from citadel_tui.cli.bench_text import comparison_text, run_text
from citadel_tui.cli.exits import Exit
from citadel_tui.cli.labels import labels
from citadel_tui.cli.putting_back import put_back
from citadel_tui.cli.session import at_hand
from citadel_tui.cli.streams import ask, progress, somebody_can_answer, tell
from citadel_tui.text import clean
from engine.api import EngineAPI, EngineError, Snapshot, UnknownModel
from engine.bench.compare import compare
from engine.bench.machine import this_machine
from engine.bench.measuring import Bench, Protocol
from engine.bench.records import FORMAT_VERSION, Omission, Run, Series, Subject, write_csv
from engine.core.commands import Load
from engine.core.names import CPU
from engine.core.plans import Plan
from engine.core.state import Resident, State


def run(arguments: Namespace) -> int:
    match arguments.models:
        case ["compare", before, after]:
            return _compare(Path(before), Path(after), arguments.threshold)
        case ["compare", *_]:
            tell("compare takes two files: citadel bench compare BEFORE.json AFTER.json")
            return Exit.NO_ENGINE
    for path in (arguments.output, arguments.csv):
        _check_writable(path)
    return asyncio.run(_bench(arguments))


async def _bench(arguments: Namespace) -> Exit:
    async with at_hand(arguments) as engine:
        before = await engine.snapshot()
        subjects = _subjects(before.state, arguments)
        touched = await _touched(engine, before.state, subjects)
        if touched and not arguments.yes and not _confirmed(before.state, touched):
            return Exit.NOT_CONFIRMED
        protocol = Protocol(arguments.repeats, arguments.warm_up)
        try:
            with progress() as show:
                bench = Bench(engine, protocol, {resident.model for resident in touched}, show)
                results = [await bench.measure(subject) for subject in subjects]
        finally:
            for trouble in await put_back(engine, before.state):
                tell(f"not put back: {trouble}")
        hello = await engine.hello()
        found = _run(hello.version, before, await engine.snapshot(), arguments.warm_up, results)
        if hello.banner:
            tell(hello.banner)
    print(run_text(found))
    _save(found, arguments.output, arguments.csv)
    return Exit.DONE if found.series else Exit.FAILED


def _subjects(state: State, arguments: Namespace) -> list[Subject]:
    """Every chosen model on every chosen device. Raises UnknownModel, and EngineError for a device that is not there."""
    models = arguments.models or list(state.models)
    gpus = [device for device in state.devices if device != CPU]
    devices = arguments.on or gpus or [CPU]
    for name in models:
        if name not in state.models:
            raise UnknownModel(f"the catalog has no model {name!r}; it has {', '.join(state.models)}")
    for device in devices:
        if device not in state.devices:
            raise EngineError(f"there is no device {device}; there are {', '.join(state.devices)}")
    return [Subject(model, device, arguments.tier) for model in models for device in devices]


async def _touched(api: EngineAPI, state: State, subjects: Sequence[Subject]) -> list[Resident]:
    """The residents that measuring takes off their devices: the subjects themselves, and who must make room for them."""
    leaving = {resident.model for subject in subjects for resident in state.of(subject.model)}
    for subject in subjects:
        plan = await api.plan(Load(subject.model, subject.device))
        if isinstance(plan, Plan):
            leaving |= {victim.model for victim in plan.victims}
    return [resident for resident in state.residents if resident.model in leaving]


def _confirmed(state: State, touched: Sequence[Resident]) -> bool:
    label = labels(state)
    tell("this takes models off their devices for as long as it runs, and puts them back:")
    for resident in touched:
        running = f", after its {resident.leases} running uses" if resident.leases else ""
        tell(f"  {label(resident.model)} on {resident.device}{running}")
    if not somebody_can_answer():
        tell("nothing was done; run it again with --yes to agree to this")
        return False
    if ask("Do it?"):
        return True
    tell("nothing was done")
    return False


def _run(version: str, before: Snapshot, after: Snapshot, warm_up: int, results: Sequence[Series | Omission]) -> Run:
    return Run(
        FORMAT_VERSION,
        before.at_s,
        version,
        this_machine(after.state.devices.values()),
        warm_up,
        tuple(result for result in results if isinstance(result, Series)),
        tuple(result for result in results if isinstance(result, Omission)),
    )


def _check_writable(path: Path | None) -> None:
    """Found out before the minutes of measuring. Raises EngineError."""
    if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        raise EngineError(f"{path} can't be written; nothing was measured")


def _save(found: Run, output: Path | None, table: Path | None) -> None:
    """Raises EngineError."""
    try:
        if output is not None:
            output.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
        if table is not None:
            with table.open("w", encoding="utf-8", newline="") as file:
                write_csv(file, found)
    except OSError as error:
        raise EngineError(f"{error.filename} can't be written: {error.strerror}; the figures are above") from None


def _compare(before: Path, after: Path, threshold: float) -> Exit:
    compared = compare(_saved(before), _saved(after))
    print(comparison_text(compared, threshold))
    if not compared.comparisons:
        return Exit.FAILED
    slower = any(comparison.change.is_worse_than(threshold) for comparison in compared.comparisons)
    return Exit.FAILED if slower else Exit.DONE


def _saved(path: Path) -> Run:
    """Raises EngineError."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Run)
    except OSError as error:
        raise EngineError(f"{path} can't be read: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise EngineError(f"{path} is not a file that `citadel bench --output` wrote: {clean(str(error))}") from None
    if found.format_version != FORMAT_VERSION:
        raise EngineError(f"{path} has format {found.format_version}; this program reads {FORMAT_VERSION}")
    return found
