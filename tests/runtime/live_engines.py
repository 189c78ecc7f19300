"""Real engines on the shipped configuration, with scripted workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from engine.api import PROTOCOL, Hello
from engine.clock import Clock, SystemClock
from engine.core.names import ModelName
from engine.core.policy import Policy
from engine.core.records import Record
from engine.core.sizes import GIB
from engine.devices.inventory import met, read_inventory, write_inventory
from engine.devices.nvml import Deadlines, NvmlProbe
from engine.devices.readings import CardReader
from engine.recording.demand import DemandLog
from engine.recording.files import Bounds
from engine.recording.journal import Journal
from engine.recording.memory import MemoryLog
from engine.recording.residency import ResidencyFile
from engine.runtime.catalog_reader import CatalogReader
from engine.runtime.engine import Engine
from engine.runtime.executor import Executor
from engine.runtime.history import History
from engine.runtime.initial_state import ModelLook, initial_state, residency_before, with_pins
from engine.runtime.recorder import Pace, Recorder
from engine.runtime.sampler import Sampler
from engine.scheduler.board import Patience
from engine.scheduler.messages import Message
from engine.scheduler.scheduler import Scheduler
from engine.settings import device_specs, load_settings
from engine.worker.protocol import ArenaSize, WorkerConfig
from tests.nvml.script import NvmlScript
from tests.runtime.scripted_workers import ScriptedFootprints, ScriptedSpawner, ScriptedStore

CONFIG = Path(__file__).parents[2] / "config"


LookAt: TypeAlias = Callable[[ModelName], ModelLook]


class Listed(CatalogReader):
    """The catalog's file, of whose models a test may say how they look."""

    scripted_look: LookAt | None = None

    def look(self, model: ModelName) -> ModelLook | None:
        return self.scripted_look(model) if self.scripted_look else super().look(model)


class Box(Struct):
    """An engine and the script of its world."""

    engine: Engine
    spawner: ScriptedSpawner
    store: ScriptedStore
    footprints: ScriptedFootprints


@asynccontextmanager
async def scripted_engine(
    folder: Path,
    policy: Policy | None = None,
    engine_clock: Clock | None = None,
    patience: Patience | None = None,
    look: LookAt | None = None,
    config: Path = CONFIG,
) -> AsyncIterator[Box]:
    """An engine on the shipped catalog, or that in `config`, with its journal in `folder`; its devices are up.
    Ends with the block."""
    probe, clock = NvmlProbe(SystemClock()), engine_clock or SystemClock()
    async with _opened(folder, probe, policy, 1.0, clock, patience or Patience(), look, config) as box:
        yield box


@asynccontextmanager
async def cards_engine(
    folder: Path, script: NvmlScript, clock: Clock, call_s: float = 30.0, engine_clock: Clock | None = None
) -> AsyncIterator[Box]:
    """The same on the cards of `script`, which the driver lists now; it samples them without a pause worth the name.

    `clock` is the probe's, which reads the cards' activity and opens the library again by it; ages are true where it is the
    engine's, too. The driver has `call_s` of real time for a call.
    """
    probe = NvmlProbe(clock, Deadlines(open_s=30.0, call_s=call_s))
    await probe.open()
    try:
        async with _opened(folder, probe, None, 0.01, engine_clock or SystemClock(), Patience()) as box:
            yield box
    finally:
        script.comes_unstuck()  # or the driver's thread would outlive the test


@asynccontextmanager
async def _opened(
    folder: Path,
    probe: NvmlProbe,
    policy: Policy | None,
    sample_s: float,
    clock: Clock,
    patience: Patience,
    look: LookAt | None = None,
    config: Path = CONFIG,
) -> AsyncIterator[Box]:
    cards = folder / "cards.json"
    inventory = met(read_inventory(cards).inventory, probe.facts, clock.now())
    write_inventory(cards, inventory)
    read_settings = partial(load_settings, config, {}, None, inventory)
    settings = read_settings()
    specs_of_devices = device_specs(settings, 64 * GIB)
    start = initial_state(settings, specs_of_devices, folder / "cache", 2 * GIB)
    specs = {model.name: model for model in settings.models}
    sizes = {name: model.footprint.weights_bytes for name, model in start.state.models.items()}
    box_store, spawner = ScriptedStore(specs, sizes), ScriptedSpawner()
    bounds = Bounds(1 << 20, 2)
    journal = Journal(folder, bounds)
    past: list[Record] = journal.read_back().records
    history = History(journal, past, clock)
    residency = ResidencyFile(folder / "residency.json", clock, history.tell)
    before = residency_before(residency.read(), past)
    state = with_pins(start.state, before) if before else start.state
    scheduler = Scheduler(state, policy or settings.policy, patience)
    if before is not None:
        scheduler.expect_back(before.residents)
    hello = Hello(PROTOCOL, "0", "test-box", 1, clock.now(), str(config), "scripted workers")
    pace = Pace(quiet_s=30.0, pressed_s=sample_s)
    recorder = Recorder(DemandLog(folder, bounds), MemoryLog(folder, bounds), history, clock, pace)
    engine = Engine(hello, scheduler, history, recorder, residency, clock, settings.requests.deadline_s)
    configs = {device: WorkerConfig(device, "ram", 0, ArenaSize(0)) for device in state.devices}
    footprints = ScriptedFootprints(state.models)

    def make_executor(post: Callable[[Message], None], tasks: asyncio.TaskGroup) -> Executor:
        return Executor(box_store, configs, spawner, footprints, clock, post, tasks)

    devices = {device: known.spec for device, known in state.devices.items()}
    sampler = Sampler(devices, CardReader(probe, settings.card_uuids), clock, sample_s)

    listed = Listed(settings, specs_of_devices, folder / "cache", read_settings)
    listed.scripted_look = look
    engine.start(make_executor, sampler, listed)
    try:
        await all_devices_up(engine)
        yield Box(engine, spawner, box_store, footprints)
    finally:
        await engine.stop(now=True)


async def all_devices_up(engine: Engine) -> None:
    """Wait until no device is starting and nothing is under way."""
    async for _ in engine.events():
        snapshot = await engine.snapshot()
        starting = any(d.reading.health == "starting" for d in snapshot.state.devices.values())
        if not starting and not snapshot.jobs:
            return
