"""Simulated boxes of a fleet: GPUs, a RAM tier and a disk each, with a local engine that bids and loads by expected loss.

As simple as routing can be judged by: a resident that leaves goes to the RAM tier, a copy takes bytes ÷ COPY_GBPS, a reading from
disk or from another box bytes ÷ DISK_GBPS one after the other, and requests of a GPU are answered one by one while loads go on
beside them. Sizes are in GB of 10⁹ bytes, times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import exp
from typing import Final

from engine.core.names import BoxName, DeviceId, ModelName
from fleet.core.choose import Bid
from fleet.core.view import Copy, Digest

GPU_GB: Final = 4.8
RAM_GB: Final = 11.26
COPY_GBPS: Final = 3.0
DISK_GBPS: Final = 0.5
"""A local disk; what comes over the network from another box is written there first and is no faster."""
SERVICE_S: Final = 0.1
GPUS_OF_A_BOX: Final = 2


class Resident:
    """A model on a GPU."""

    __slots__ = ("last_s", "ready_s", "requests", "weighed_s")

    def __init__(self, ready_s: float, last_s: float, requests: float, weighed_s: float) -> None:
        self.ready_s, self.last_s = ready_s, last_s
        self.requests = requests
        """Those that it answered here, each counted less the older it is, as of `weighed_s`."""
        self.weighed_s = weighed_s


class Gpu:
    """What a GPU holds, and until when it computes and copies."""

    __slots__ = ("box", "busy_s", "copying_s", "device", "free_gb", "residents")

    def __init__(self, box: Box, device: DeviceId) -> None:
        self.box, self.device = box, device
        self.clear()

    def clear(self) -> None:
        self.residents: dict[ModelName, Resident] = {}
        self.free_gb = GPU_GB
        self.busy_s = self.copying_s = 0.0

    def queue_s(self, now_s: float) -> float:
        return max(0.0, self.busy_s - now_s)


class Box:
    """A machine."""

    __slots__ = ("disk", "gpus", "name", "ram", "ram_free_gb", "reading_s")

    def __init__(self, name: BoxName) -> None:
        self.name = name
        self.gpus = [Gpu(self, f"gpu{n}") for n in range(GPUS_OF_A_BOX)]
        self.disk: set[ModelName] = set()
        self.reading_s = 0.0
        self.lose_memory()

    def lose_memory(self) -> None:
        """It was off: what its disk has is all that it has."""
        for gpu in self.gpus:
            gpu.clear()
        self.ram: dict[ModelName, None] = {}
        """The slabs in its RAM tier, the one that came last at the end."""
        self.ram_free_gb = RAM_GB


class Boxes:
    """All of them, and what was counted of them."""

    def __init__(self, count: int, sizes_gb: dict[ModelName, float], memory_s: float) -> None:
        self.sizes_gb = sizes_gb
        self.memory_s = memory_s
        """Demand is remembered so long: by then a request counts 1/e."""
        self.boxes = {f"b{n}": Box(f"b{n}") for n in range(count)}
        self.gpus = [gpu for box in self.boxes.values() for gpu in box.gpus]
        self.holders: dict[ModelName, list[Gpu]] = {}
        self.changes = 0
        """Residents that came or went: each is a message to whoever keeps a view."""
        self.fetched = 0
        """Loads of models that had to come from another box."""

    # ── what an engine says ──

    def digest(self, box: Box, now_s: float) -> Digest:
        copies = tuple(
            Copy(
                model,
                gpu.device,
                gpu.queue_s(now_s),
                SERVICE_S,
                self.sizes_gb[model] / COPY_GBPS,
                max(0.0, resident.ready_s - now_s),
            )
            for gpu in box.gpus
            for model, resident in gpu.residents.items()
        )
        return Digest(copies, frozenset(box.ram))

    def bid(self, box: Box, model: ModelName, now_s: float, also: bool) -> Bid | None:
        """The cheapest of its GPUs; None where all are too full of what can't leave. `also`: one more copy is meant."""
        bids = []
        for gpu in box.gpus:
            resident = gpu.residents.get(model)
            if resident is None:
                loss_s = self._loss_s(gpu, self.sizes_gb[model], now_s)
                if loss_s is not None:
                    wait_s, load_s = self._load_s(gpu, model, now_s)
                    bids.append(Bid(box.name, gpu.device, gpu.queue_s(now_s) + wait_s, load_s, loss_s))
            elif not also:
                bids.append(Bid(box.name, None, max(gpu.queue_s(now_s), resident.ready_s - now_s, 0.0), 0.0, 0.0))
        return min(bids, key=lambda bid: bid.wait_s + bid.load_s + bid.loss_s, default=None)

    def place(self, box: Box, model: ModelName, now_s: float) -> Gpu:
        """The GPU on which its engine answers a request: of those that have the model the first that is free, else the one on
        which a load is cheapest."""
        ready = [gpu for gpu in box.gpus if model in gpu.residents]
        if ready:
            return min(ready, key=lambda gpu: max(gpu.busy_s, gpu.residents[model].ready_s))
        bid = self.bid(box, model, now_s, also=False)
        return box.gpus[0] if bid is None else next(gpu for gpu in box.gpus if gpu.device == bid.device)

    # ── what it does ──

    def load(self, gpu: Gpu, model: ModelName, now_s: float) -> float | None:
        """Has the model come; seconds of copying or reading, or None where there is no room for it."""
        size_gb, box = self.sizes_gb[model], gpu.box
        victims = self._victims(gpu, size_gb, now_s)
        if victims is None:
            return None
        for victim, _ in victims:
            self._evict(gpu, victim)
        wait_s, load_s = self._load_s(gpu, model, now_s)
        if model in box.ram:
            del box.ram[model]
            box.ram_free_gb += size_gb
            gpu.copying_s = now_s + wait_s + load_s
        else:
            self.fetched += model not in box.disk
            box.disk.add(model)
            box.reading_s = now_s + wait_s + load_s
        self.put(gpu, model, Resident(now_s + wait_s + load_s, now_s, 0.0, now_s))
        self.changes += 1
        return load_s

    def serve(self, gpu: Gpu, model: ModelName, now_s: float) -> float:
        """Answers a request there; seconds that it waits for its turn and its model."""
        resident = gpu.residents[model]
        resident.requests = self._requests(resident, now_s) + 1.0
        resident.weighed_s = resident.last_s = now_s
        begins_s = max(gpu.busy_s, now_s)
        gpu.busy_s = begins_s + SERVICE_S
        return max(begins_s, resident.ready_s) - now_s

    def put(self, gpu: Gpu, model: ModelName, resident: Resident) -> None:
        gpu.residents[model] = resident
        gpu.free_gb -= self.sizes_gb[model]
        self.holders.setdefault(model, []).append(gpu)

    def die(self, box: Box) -> None:
        for gpu in box.gpus:
            for model in gpu.residents:
                self.holders[model].remove(gpu)
        box.lose_memory()

    def keep(self, box: Box, model: ModelName) -> None:
        """Its RAM tier takes the weights; those that came first make room."""
        size_gb = self.sizes_gb[model]
        if model in box.ram or size_gb > RAM_GB:
            return
        while box.ram_free_gb < size_gb:
            oldest = next(iter(box.ram))
            del box.ram[oldest]
            box.ram_free_gb += self.sizes_gb[oldest]
        box.ram[model] = None
        box.ram_free_gb -= size_gb

    def _evict(self, gpu: Gpu, model: ModelName) -> None:
        del gpu.residents[model]
        gpu.free_gb += self.sizes_gb[model]
        self.holders[model].remove(gpu)
        self.keep(gpu.box, model)
        self.changes += 1

    def _requests(self, resident: Resident, now_s: float) -> float:
        return resident.requests * exp((resident.weighed_s - now_s) / self.memory_s)

    def _load_s(self, gpu: Gpu, model: ModelName, now_s: float) -> tuple[float, float]:
        """Seconds until a load can begin, and what it takes then."""
        if model in gpu.box.ram:
            return max(0.0, gpu.copying_s - now_s), self.sizes_gb[model] / COPY_GBPS
        return max(0.0, gpu.box.reading_s - now_s), self.sizes_gb[model] / DISK_GBPS

    def _loss_s(self, gpu: Gpu, size_gb: float, now_s: float) -> float | None:
        """Seconds of reloading that making room is expected to cost."""
        victims = self._victims(gpu, size_gb, now_s)
        return None if victims is None else sum(loss_s for _, loss_s in victims)

    def _victims(self, gpu: Gpu, size_gb: float, now_s: float) -> list[tuple[ModelName, float]] | None:
        """Who leaves for so many bytes, those with the least expected loss for their size first, and that loss; None where all
        that may leave is not enough."""
        if gpu.free_gb >= size_gb:
            return []
        free_gb, victims = gpu.free_gb, []
        for density, model in sorted(self._leavers(gpu.residents.items(), now_s)):
            victims.append((model, density * self.sizes_gb[model]))
            free_gb += self.sizes_gb[model]
            if free_gb >= size_gb:
                return victims
        return None

    def _leavers(
        self, residents: Iterable[tuple[ModelName, Resident]], now_s: float
    ) -> Iterator[tuple[float, ModelName]]:
        for model, resident in residents:
            if resident.ready_s <= now_s and resident.last_s < now_s:
                yield self._requests(resident, now_s) / COPY_GBPS, model
