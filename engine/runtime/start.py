"""Puts an engine together from its configuration and starts it: its state, what its executor works with (arena, fork server,
slab store, a worker for each device), and how much memory is touched ahead of its first use."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.api import PROTOCOL, Hello
from engine.clock import Clock, SystemClock
from engine.core.commands import OWN_IDS, Load, Submission
from engine.core.devices import DeviceSpec
from engine.core.insight.reference_box import slow_switches
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import LoadStep
from engine.core.policy import Policy
from engine.core.records import Record, Residency, Switch
from engine.core.sizes import GIB
from engine.core.state import State
from engine.devices.host import read_host_memory
from engine.devices.inventory import Recollection, take_inventory, unnamed_cards, write_inventory
from engine.devices.nvml import NvmlProbe
from engine.devices.readings import CardReader
from engine.devices.troubles import Library
from engine.libraries import check_libraries, torch_version
from engine.paths import Paths, find_paths, make_folders
from engine.recording.demand import DemandLog
from engine.recording.files import Bounds
from engine.recording.footprints import FootprintStore
from engine.recording.journal import Journal
from engine.recording.memory import MemoryLog
from engine.recording.residency import ResidencyFile
from engine.runtime.catalog_reader import CatalogReader
from engine.runtime.engine import Engine, MakeExecutor
from engine.runtime.executor import Executor
from engine.runtime.history import HISTORY_RECORDS, History
from engine.runtime.initial_state import (
    initial_state,
    residency_before,
    with_changes,
    with_copy_rates,
    with_pins,
    with_rates,
    with_run_rates,
)
from engine.runtime.recorder import Pace, Recorder
from engine.runtime.sampler import Sampler
from engine.runtime.slab_exchange import SlabExchange
from engine.runtime.slab_store import SlabStore
from engine.scheduler.board import Patience, QueueBounds
from engine.scheduler.messages import Submit
from engine.scheduler.scheduler import Scheduler
from engine.settings import Settings, device_specs, find_dotenv, load_settings, ram_tier_bytes
from engine.version import VERSION
from engine.weights.arena import Arena
from engine.weights.sources import Source
from engine.whole_file import put_aside
from engine.worker.forkserver import ForkServer
from engine.worker.protocol import ArenaSize, WorkerConfig

IN_USE_SHARE: Final = 2 / 3
"""Of a request's patience: so long it waits for running requests to end by themselves. Of 30 s, 20 s: with 10 s single heavy
requests went to the CPU in the timed replay, which kept others waiting for minutes."""
VIRTUAL_BANNER: Final = "virtual GPUs in host RAM: no NVIDIA GPU is in use"
CPU_ONLY_BANNER: Final = "CPU only: no GPU is configured or visible"
UNNAMED: Final = (
    "no such card was ever seen here, so that it has no name: it gets one when the engine is started and it answers"
)
STAND_IN: Final = "Stand-in"
"""How a card of `tests/standin` is named, which is host memory too."""
STAND_IN_BANNER: Final = "stand-in for NVIDIA cards, made of host RAM: no NVIDIA GPU is in use"


class Started(Struct, frozen=True):
    """A living engine, and what it was told."""

    engine: Engine
    settings: Settings
    exchange: SlabExchange
    """Its slabs', with other machines; to be closed when it ends."""


async def start_engine(config: Path, environment: Mapping[str, str]) -> Engine:
    """A living engine on the configuration in `config`; see `started`."""
    return (await started(config, environment)).engine


async def started(config: Path, environment: Mapping[str, str]) -> Started:
    """A living engine on the configuration in `config`. Its devices are `starting` until their workers are up.

    Raises EngineError with all that is wrong with the configuration; then nothing has been started.
    """
    check_libraries()
    paths = find_paths(environment)
    make_folders(paths)
    clock = SystemClock()
    probe = NvmlProbe(clock)
    library = await probe.open()
    cards = await asyncio.to_thread(take_inventory, paths, probe.facts, clock.now())
    read_settings = partial(load_settings, config, environment, find_dotenv(config, Path.cwd()), cards.inventory)
    settings = read_settings()
    host = read_host_memory()
    specs = device_specs(settings, host.total_bytes, host.all_of_it)
    start = initial_state(settings, specs, paths.cache, ram_tier_bytes(settings, host.total_bytes))
    journal = Journal(paths.journal, Bounds(settings.journal.max_bytes, settings.journal.files))
    left = await asyncio.to_thread(journal.read_back)
    past = left.records[-HISTORY_RECORDS:]
    state = with_copy_rates(start.state, settings.card_uuids, library.driver_version, paths.cache)
    footprints = FootprintStore(paths.footprints, state.models, torch_version())
    recalled = footprints.read()
    state = with_run_rates(with_rates(state, past), recalled.rates)
    history = History(journal, past, clock)
    residency = ResidencyFile(paths.residency, clock, history.tell)
    kept = residency.read()
    before = residency_before(kept, left.records)
    scheduler = _scheduler(settings, state, past, before if settings.restore_after_restart else None)
    scheduler.recall(recalled.peaks)
    recorder = _recorder(settings, paths, history, clock)
    hello = _hello(config, clock.now(), _banner(specs, library), settings.policy)
    engine = Engine(hello, scheduler, history, recorder, residency, clock, settings.requests.deadline_s)
    unnamed = (f"{silent}; {UNNAMED}" for silent in unnamed_cards(library, cards.inventory))
    lost = (left.warning, recalled.warning, kept.warning, _keep_inventory(paths.cards, cards), *unnamed)
    for warning in filter(None, (*start.warnings, *slow_switches(scheduler.state), *lost)):
        engine.note("warning", warning)
    uuids = settings.card_uuids
    make_executor = executor_maker(
        scheduler.state,
        uuids,
        start.sources,
        paths.cache,
        footprints,
        clock,
        settings.monitoring.not_answering_s,
        loaded_before(past) | {model.name for model in settings.models if model.preload},
    )
    reader = CardReader(probe, uuids)
    sampler = Sampler({spec.id: spec for spec in specs}, reader, clock, settings.monitoring.sample_s)
    catalog = CatalogReader(settings, specs, paths.cache, read_settings)
    engine.start(make_executor, sampler, catalog)
    _preload(engine, settings)
    return Started(engine, settings, SlabExchange(catalog, paths.cache, engine.post, engine.note, clock))


def _keep_inventory(path: Path, cards: Recollection) -> str:
    """Write down which card has which number. What there is to say of it; empty when all is well."""
    anew = "cards are numbered anew, in the order of the PCI bus"
    said = cards.trouble and f"{path} can't be read ({cards.trouble}); {anew}, {put_aside(path)}"
    try:
        if cards.inventory.cards:
            write_inventory(path, cards.inventory)
    except OSError as error:
        why = f"{path} can't be written: {error.strerror}; after a restart cards may have other numbers than now"
        said = f"{said}; {why}" if said else why
    return said


def _preload(engine: Engine, settings: Settings) -> None:
    for model in settings.models:
        if model.preload:
            engine.post(Submit(Submission(f"{OWN_IDS}preload-{model.name}", Load(model.name), "config")))


def _scheduler(settings: Settings, state: State, past: Sequence[Record], before: Residency | None) -> Scheduler:
    """One that goes on where the last run ended, if that is wanted and known."""
    state = with_pins(with_changes(state, past), before) if before else state
    scheduler = Scheduler(state, settings.policy, _patience(settings))
    if before is not None:
        scheduler.expect_back(before.residents)
    return scheduler


def _recorder(settings: Settings, paths: Paths, history: History, clock: Clock) -> Recorder:
    bounds = Bounds(settings.recording.max_bytes, settings.recording.files)
    pace = Pace(settings.monitoring.interval_s, settings.monitoring.sample_s)
    return Recorder(DemandLog(paths.demand, bounds), MemoryLog(paths.memory, bounds), history, clock, pace)


def _hello(config: Path, now_s: float, banner: str, policy: Policy) -> Hello:
    return Hello(PROTOCOL, VERSION, socket.gethostname(), os.getpid(), now_s, str(config.absolute()), banner, policy)


def _banner(specs: Sequence[DeviceSpec], library: Library) -> str:
    """What every screen has to say of GPUs that are not what they seem."""
    backings = {spec.backing for spec in specs if spec.id != CPU}
    if not backings:
        return CPU_ONLY_BANNER
    if any(STAND_IN in spec.title for spec in specs):
        return STAND_IN_BANNER
    if "ram" not in backings:
        return ""
    unusable = library.state not in ("ok", "library_missing", "no_devices")
    return VIRTUAL_BANNER + ("; `citadel doctor` says what is wrong with the driver" if unusable else "")


def _patience(settings: Settings) -> Patience:
    loading, requests = settings.loading, settings.requests
    return Patience(
        loading.queue_deadline_s,
        loading.queue_deadline_s * IN_USE_SHARE,
        loading.drain_deadline_s,
        loading.timeout_s,
        loading.retries,
        settings.monitoring.not_answering_s,
        settings.monitoring.step_deadline_s,
        QueueBounds(requests.queue_rows, requests.queue_generations, requests.queue_wait_s),
    )


# ── what its executor works with ─────────────────────────────────────────────────────────────────


def executor_maker(
    state: State,
    cards: Mapping[DeviceId, str],
    sources: Mapping[ModelName, Source],
    cache: Path,
    footprints: FootprintStore,
    clock: Clock,
    not_answering_s: float,
    wanted: Collection[ModelName],
) -> MakeExecutor:
    """Set up the arena, which is allocated here, and what else an executor for the devices and models of `state` needs.

    `cards` has the UUIDs of devices on a card. A worker that prepares has `not_answering_s` for a sign of life. `wanted`: the
    models that are likely to be loaded.
    """
    available_bytes = read_host_memory().available_bytes
    ahead, keeps = touched_ahead(state, wanted, available_bytes), keeps_pages(state, available_bytes)
    arena = Arena(_arena_bytes(state), ahead.ram_tier_bytes, keeps)
    spawner = ForkServer(arena.fd, not_answering_s)
    specs = {name: known.spec for name, known in state.models.items()}
    store = SlabStore(specs, sources, cache, arena, spawner, clock, not_answering_s)
    workers = {
        device: _worker(
            known.spec,
            len(state.devices) - 1,
            arena.size_bytes,
            cards.get(device),
            ahead.device_bytes.get(device, 0),
            keeps,
        )
        for device, known in state.devices.items()
    }
    return partial(Executor, store, workers, spawner, footprints, clock)


def _arena_bytes(state: State) -> int:
    """Room for the RAM tier, for all that may run on the CPU, and for a slab in passing on each device, of whatever model the
    catalog comes to have. Sparse: untouched pages cost nothing."""
    passing = sum(int(known.spec.total_bytes * known.spec.fraction) for known in state.devices.values())
    return state.ram.budget_bytes + state.devices[CPU].spec.total_bytes + passing


def _worker(
    spec: DeviceSpec, gpus: int, arena_bytes: int, card: str | None, touched_bytes: int, keeps: bool
) -> WorkerConfig:
    threads = max(1, (os.cpu_count() or 1) // (1 if spec.id == CPU else max(1, gpus)))
    return WorkerConfig(
        spec.id,
        spec.backing,
        None if spec.is_whole_card else spec.total_bytes,
        ArenaSize(arena_bytes),
        threads,
        card=card,
        page_locks=spec.on_card,
        touched_bytes=touched_bytes,
        keeps_pages=keeps,
    )


# ── memory touched ahead of its first use ────────────────────────────────────────────────────────

SPARED_SHARE: Final = 0.25
"""Of what the host has available: touched memory is taken, whether a model ever comes to lie in it or not."""
MOST_BYTES: Final = GIB
"""Of the RAM tier, and of each device: the first switches should not pay, the rest can be touched by them."""


class TouchedAhead(Struct, frozen=True):
    """Bytes whose pages are there before anything needs them: what the first loads will need, as far as the host can spare it."""

    ram_tier_bytes: int
    device_bytes: dict[DeviceId, int]
    """Of devices in host RAM."""


def loaded_before(past: Sequence[Record]) -> set[ModelName]:
    """The models that were loaded in what is remembered: who will be wanted again, as far as anybody can tell."""
    plans = (record.entry.plan for record in past if isinstance(record.entry, Switch))
    return {step.model for plan in plans for step in plan.steps if isinstance(step, LoadStep)}


def touched_ahead(state: State, wanted: Collection[ModelName], available_bytes: int) -> TouchedAhead:
    """As much as the `wanted` models need, the RAM tier first, then the devices in order. Nothing where nobody has wanted any."""
    left_bytes = int(available_bytes * SPARED_SHARE)
    footprints = [state.models[name].footprint for name in wanted if name in state.models]
    most_bytes = min(MOST_BYTES, sum(footprint.total_bytes for footprint in footprints))
    weights_bytes = sum(footprint.weights_bytes for footprint in footprints)
    ram_tier_bytes = min(state.ram.budget_bytes, MOST_BYTES, weights_bytes, left_bytes)
    left_bytes -= ram_tier_bytes
    device_bytes: dict[DeviceId, int] = {}
    for device, known in state.devices.items():
        if known.spec.backing == "ram":
            budget_bytes = int(known.spec.total_bytes * known.spec.fraction)
            device_bytes[device] = min(budget_bytes, most_bytes, left_bytes)
            left_bytes -= device_bytes[device]
    return TouchedAhead(ram_tier_bytes, device_bytes)


def keeps_pages(state: State, available_bytes: int) -> bool:
    """Whether memory that a model has left stays touched for the next one, which comes faster then: where the host has twice as
    much as the RAM tier and the devices in host RAM may take. Elsewhere others need it meanwhile."""
    in_ram = sum(known.spec.total_bytes for known in state.devices.values() if known.spec.backing == "ram")
    return 2 * (state.ram.budget_bytes + in_ram) <= available_bytes
