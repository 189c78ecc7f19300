"""Rules for which GPU a request goes to: the fleet's own, and what people run today. Each box's engine is the same for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from itertools import count
from math import gcd
from random import Random
from time import perf_counter
from typing import Final

from msgspec.structs import replace

from benchmarks.fleet_boxes import COPY_GBPS, GPU_GB, SERVICE_S, Box, Boxes, Gpu, Resident
from benchmarks.fleet_demand import Demand
from engine.core.names import BoxName, ModelName
from fleet.core.choose import Bid, Ready, cheapest, choose, enough
from fleet.core.ring import Ring
from fleet.core.view import Copy, Digest, FleetView, Member

HOMES: Final = 3
_BEHIND_S: Final = 8 * SERVICE_S
_BOUND: Final = 1.25
"""Of bounded loads: no server has more than so many times the mean."""


class Router(ABC):
    """Says where a request goes. `asked` counts the boxes that were asked for it."""

    name: str

    def __init__(self, boxes: Boxes, demand: Demand, seed: int) -> None:
        self.boxes, self.demand, self.random = boxes, demand, Random(seed)
        self.asked = 0
        self.setup()

    def setup(self) -> None:
        """Puts models where the rule would have them: on their homes' GPUs as far as they fit, the most requested first."""
        boxes = self.boxes
        ring = Ring({name: int(2 * GPU_GB * 1e9) for name in boxes.boxes})
        for model in self.demand.popularity:
            homes = [boxes.boxes[name] for name in ring.homes(model, HOMES, lambda _: True)]
            self._start_on(model, [gpu for home in homes for gpu in home.gpus], homes)

    @abstractmethod
    def route(self, model: ModelName, now_s: float) -> Gpu: ...

    def served(self, gpu: Gpu, now_s: float) -> None:  # noqa: B027 (most rules keep no view)
        """A request went there, and its model came if it was not there."""

    def _start_on(self, model: ModelName, gpus: Iterable[Gpu], homes: Iterable[Box]) -> None:
        boxes, size_gb = self.boxes, self.boxes.sizes_gb[model]
        for home in homes:
            home.disk.add(model)
        expected = self.demand.popularity[model] * self.demand.per_s * self.demand.memory_s
        for gpu in gpus:
            if gpu.free_gb >= size_gb:
                boxes.put(gpu, model, Resident(-1.0, -1.0, expected, 0.0))
                return
        first = next(iter(homes))
        if first.ram_free_gb >= size_gb:
            boxes.keep(first, model)

    def _shorter(self, gpus: list[Gpu], now_s: float) -> Gpu:
        """Of two at random."""
        one, other = self.random.choice(gpus), self.random.choice(gpus)
        return other if other.busy_s < one.busy_s else one


class Chosen(Router):
    """The fleet's own: `choose` on a view that is `age_s` old, and bids."""

    name = "citadel"
    age_s = 0.0

    def setup(self) -> None:
        super().setup()
        self.view = FleetView()
        self.choosing_s = list[float]()
        """What each choice took."""
        self._news: deque[tuple[float, BoxName, Digest]] = deque()
        catalog = frozenset(self.boxes.sizes_gb)
        self._members = {name: Member(int(2 * GPU_GB * 2**30), catalog) for name in self.boxes.boxes}
        self.view.join(self._members)
        for box in self.boxes.boxes.values():
            self.view.heard(box.name, self.boxes.digest(box, 0.0), 0.0)

    def route(self, model: ModelName, now_s: float) -> Gpu:
        self._hear(now_s)
        begun_s = perf_counter()
        choice = choose(self.view, model, self.random, now_s)
        self.choosing_s.append(perf_counter() - begun_s)
        if isinstance(choice, Ready):
            self.view.sent(choice.box, model, choice.device, now_s)
            return self.boxes.place(self.boxes.boxes[choice.box], model, now_s)
        bids = list[Bid]()
        for boxes in choice.rounds:
            self.asked += len(boxes)
            found = (self.boxes.bid(self.boxes.boxes[box], model, now_s, choice.instead is not None) for box in boxes)
            bids += [bid for bid in found if bid is not None]
            if any(map(enough, bids)):
                break
        best = next(iter(cheapest(bids, choice)), None)
        if best is None:
            box = self.boxes.boxes[choice.instead.box if choice.instead is not None else choice.rounds[-1][0]]
            return self.boxes.place(box, model, now_s)
        if best.device is None:
            return self.boxes.place(self.boxes.boxes[best.box], model, now_s)
        load_s = self.boxes.sizes_gb[model] / COPY_GBPS
        self.view.begun(best.box, Copy(model, best.device, 0.0, SERVICE_S, load_s, best.wait_s + best.load_s), now_s)
        self.view.sent(best.box, model, best.device, now_s)
        return next(gpu for gpu in self.boxes.boxes[best.box].gpus if gpu.device == best.device)

    def served(self, gpu: Gpu, now_s: float) -> None:
        self._news.append((now_s, gpu.box.name, self.boxes.digest(gpu.box, now_s)))

    def tell(self, box: Box, is_open: bool, now_s: float) -> None:
        """The box has fallen silent, or is back."""
        self._members[box.name] = replace(self._members[box.name], is_ready=is_open)
        self.view.join(self._members)
        if is_open:
            self.view.heard(box.name, self.boxes.digest(box, now_s), now_s)

    def _hear(self, now_s: float) -> None:
        while self._news and self._news[0][0] <= now_s - self.age_s:
            at_s, box, digest = self._news.popleft()
            self.view.heard(box, digest, at_s)


class Chosen1s(Chosen):
    name, age_s = "citadel, view 1 s old", 1.0


class Chosen5s(Chosen):
    name, age_s = "citadel, view 5 s old", 5.0


class AtRandom(Router):
    name = "random"

    def route(self, model: ModelName, now_s: float) -> Gpu:
        return self.random.choice(self.boxes.gpus)


class LeastConnections(Router):
    """nginx's least_conn: the shortest queue, whoever has the model."""

    name = "least connections"

    def route(self, model: ModelName, now_s: float) -> Gpu:
        gpus, start = self.boxes.gpus, int(self.random.random() * len(self.boxes.gpus))
        best = gpus[start]
        for n in range(len(gpus)):
            gpu = gpus[start + n - len(gpus)]
            if gpu.busy_s <= now_s:
                return gpu
            if gpu.busy_s < best.busy_s:
                best = gpu
        return best


class LeastConnectionsOfBoxes(Router):
    """The same among boxes, whose engines choose the GPU."""

    name = "least connections, our engines"

    def route(self, model: ModelName, now_s: float) -> Gpu:
        boxes = list(self.boxes.boxes.values())
        start = int(self.random.random() * len(boxes))
        queues_s = ((sum(gpu.queue_s(now_s) for gpu in box.gpus), box) for box in boxes[start:] + boxes[:start])
        best_s, best = next(queues_s)
        for queue_s, box in queues_s:
            if not best_s:
                break
            if queue_s < best_s:
                best_s, best = queue_s, box
        return self.boxes.place(best, model, now_s)


class FirstHome(Router):
    """The first of the model's homes that is not behind, with neither view nor bids; its engine chooses the GPU."""

    name = "first home, our engines"

    def setup(self) -> None:
        super().setup()
        ring = Ring({name: int(2 * GPU_GB * 1e9) for name in self.boxes.boxes})
        self._homes = {model: ring.homes(model, HOMES, lambda _: True) for model in self.demand.popularity}

    def route(self, model: ModelName, now_s: float) -> Gpu:
        gpus = [self.boxes.place(self.boxes.boxes[home], model, now_s) for home in self._homes[model]]
        return next((gpu for gpu in gpus if gpu.queue_s(now_s) <= _BEHIND_S), gpus[0])


class BoundedHash(Router):
    """Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2017), as HAProxy has it: from the model's own
    place on, the first whose load is below the bound."""

    name = "bounded-load hash"

    def setup(self) -> None:
        self._mean_s = 0.0
        self._orders: dict[ModelName, tuple[int, int]] = {}
        for model in self.demand.popularity:
            order = [self._nth(model, n) for n in range(6)]
            self._start_on(model, order, [gpu.box for gpu in order])

    def route(self, model: ModelName, now_s: float) -> Gpu:
        bound_s = _BOUND * self._mean_s + 2 * SERVICE_S
        for n in range(len(self.boxes.gpus)):
            gpu = self._nth(model, n)
            if gpu.queue_s(now_s) <= bound_s:
                return gpu
        return self._nth(model, 0)

    def served(self, gpu: Gpu, now_s: float) -> None:
        self._mean_s += (gpu.queue_s(now_s) - self._mean_s) * 1e-4

    def _nth(self, model: ModelName, n: int) -> Gpu:
        gpus = self.boxes.gpus
        if model not in self._orders:
            order = Random(model)
            steps = (order.randrange(1, len(gpus)) for _ in count())
            self._orders[model] = order.randrange(len(gpus)), next(step for step in steps if gcd(step, len(gpus)) == 1)
        start, step = self._orders[model]
        return gpus[(start + n * step) % len(gpus)]


class RayServe(Router):
    """Ray Serve's multiplexing: two of the replicas that have the model, the shorter queue; where there is none, or that is long,
    two of all."""

    name = "Ray Serve's rule"

    def route(self, model: ModelName, now_s: float) -> Gpu:
        holders = self.boxes.holders.get(model)
        if holders:
            gpu = self._shorter(holders, now_s)
            if gpu.queue_s(now_s) <= _BEHIND_S:
                return gpu
        return self._shorter(self.boxes.gpus, now_s)


ROUTERS: Final = (
    Chosen,
    Chosen1s,
    Chosen5s,
    FirstHome,
    BoundedHash,
    RayServe,
    LeastConnectionsOfBoxes,
    LeastConnections,
    AtRandom,
)
