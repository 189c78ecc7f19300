"""What an engine's executor works with: the RAM tier's arena, the fork server, the slab store, and a worker for each device."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from engine.core.devices import DeviceSpec
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.state import State
from engine.devices.host import read_host_memory
from engine.runtime.executor import Executor
from engine.recording.footprints import FootprintStore
from engine.runtime.loop import MakeExecutor
from engine.runtime.ports import Clock
from engine.runtime.slab_store import SlabStore
from engine.runtime.touched_ahead import touched_ahead
from engine.weights.arena import Arena
from engine.weights.sources import Source
from engine.worker.forkserver import ForkServer
from engine.worker.protocol import Arena as ArenaSize
from engine.worker.protocol import WorkerConfig


def executor_maker(
    state: State,
    cards: Mapping[DeviceId, str],
    sources: Mapping[ModelName, Source],
    cache: Path,
    footprints: FootprintStore,
    clock: Clock,
) -> MakeExecutor:
    """Set up the arena, which is allocated here, and what else an executor for the devices and models of `state` needs.

    `cards` has the UUIDs of devices on a card.
    """
    ahead = touched_ahead(state, read_host_memory().available_bytes)
    arena = Arena(_arena_bytes(state), ahead.ram_tier_bytes)
    spawner = ForkServer(arena.fd)
    store = SlabStore({name: known.spec for name, known in state.models.items()}, sources, cache, arena, spawner)
    workers = {
        device: _worker(
            known.spec, len(state.devices) - 1, arena.size_bytes, cards.get(device), ahead.device_bytes.get(device, 0)
        )
        for device, known in state.devices.items()
    }
    return partial(Executor, store, workers, spawner, footprints, clock)


def _arena_bytes(state: State) -> int:
    """Room for the RAM tier, for all that may run on the CPU, and for a slab in passing on each device. Sparse: untouched
    pages cost nothing."""
    largest = max((m.footprint.weights_bytes for m in state.models.values()), default=0)
    return state.ram.budget_bytes + state.devices[CPU].spec.total_bytes + largest * len(state.devices)


def _worker(spec: DeviceSpec, gpus: int, arena_bytes: int, card: str | None, touched_bytes: int) -> WorkerConfig:
    threads = max(1, (os.cpu_count() or 1) // (1 if spec.id == CPU else max(1, gpus)))
    return WorkerConfig(
        spec.id,
        spec.backing,
        spec.total_bytes,
        ArenaSize(arena_bytes),
        threads,
        card=card,
        page_locks=spec.on_card,
        touched_bytes=touched_bytes,
    )
