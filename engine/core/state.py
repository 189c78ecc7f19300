"""The state that every decision is made on: one immutable value, owned by the engine's single writer."""

from __future__ import annotations

from functools import cached_property
from typing import Literal, TypeAlias

from msgspec import Struct, field

from engine.core.devices import DeviceSpec, Reading
from engine.core.models import Dtype, Footprint, ModelSpec, Pin
from engine.core.names import BoxName, DeviceId, ModelName, box_of, is_cpu
from engine.core.plans import Step
from engine.core.policy import Policy
from engine.core.prediction import INSTANT, Rates

Stage: TypeAlias = Literal["pending", "loading", "ready", "draining", "leaving"]
"""A resident's life. `pending`: its plan is accepted, its room not proven. `loading`: its bytes are reserved and moving.
`draining`: to leave, still rescuable. `leaving`: committed; charged until the device shows the bytes free."""


class Resident(Struct, frozen=True, omit_defaults=True, gc=False):
    """A model on a device, or on its way to or from it."""

    model: ModelName
    device: DeviceId
    stage: Stage
    footprint: Footprint
    since_s: float
    """When it entered this stage, seconds since the epoch."""
    leases: int = 0
    """Requests that run on it."""
    work: int = 0
    """What these ask for together, as their tasks count it."""
    idle_since_s: float | None = None
    """Since when it is ready and nothing runs on it, seconds since the epoch; None while something does."""
    progress: float | None = None
    """Share of the bytes of a load that have moved, 0 to 1."""
    given_up: bool = False
    """It drains for a load that has waited long: requests for it wait too, instead of keeping it here."""


def leaves_at_s(state: State, resident: Resident) -> float | None:
    """When the resident will have been idle for as long as it may be, seconds since the epoch; None where it stays: nothing
    bounds its idleness, something runs on it, or it is pinned."""
    known = state.models[resident.model]
    if known.keep_alive_s is None or resident.idle_since_s is None or state.is_pinned(resident):
        return None
    return resident.idle_since_s + known.keep_alive_s


def answered(resident: Resident, since_s: float) -> bool:
    """Whether it ran a request since then. It is idle from the moment that it is ready on, which is no request's end."""
    ended_s = resident.idle_since_s
    return bool(resident.leases) or (ended_s is not None and ended_s > max(since_s, resident.since_s))


class Demand(Struct, frozen=True):
    """Requests for a model, each counted less the more requests have come since (see `forecast.demand`)."""

    weights: tuple[float, ...] = ()
    """The requests as each span of `forecast.demand` remembers them; empty before the first."""
    at_request: int = 0
    """Number of the engine's request at which `weights` were right."""
    requests: int = 0
    """All requests since the engine started."""
    last_s: float | None = None
    per_minute: float = 0.0
    counted: int = 0
    """Of the requests, those that the weights count: of several in a row for this model the first."""


class Queueing(Struct, frozen=True):
    """What requests for a model would have waited for 1, 2, … copies of it (see `forecast.queueing`)."""

    free_s: tuple[tuple[float, ...], ...] = ()
    """When each copy would be free, the earliest first, on the steady clock; empty before the first request."""
    waits: tuple[tuple[float, ...], ...] = ()
    """Seconds that requests would have waited together, as each span of `forecast.demand` remembers them."""
    requests: tuple[float, ...] = ()
    """All of these requests, as each span remembers them; those in a row count one by one."""
    at_request: int = 0
    """Number of the engine's request at which `waits` and `requests` were right."""


class ModelState(Struct, frozen=True):
    """A model of the catalog and what the engine knows of it now."""

    spec: ModelSpec
    footprint: Footprint
    source: str = ""
    """The one of its sources that is in use."""
    prepared: bool = False
    """Whether its slab lies ready on disk."""
    pin: Pin | None = None
    demand: Demand = Demand()
    run_rates: dict[str, Rates] = {}
    """Seconds of a device that runs take for their work, by the device's title (see `forecast.run_costs`)."""
    queueing: Queueing = Queueing()
    trouble: str = ""
    """Why it can't be loaded now, in words; empty when it can."""
    smaller: dict[Dtype, Footprint] = {}
    """What it would need in each dtype that makes it smaller; empty where its sizes are not known."""
    in_page_cache: bool = False
    """Whether the host's page cache held its prepared slab when that was last looked at."""
    keep_alive_s: float | None = None
    """It leaves its device when it has been idle for so long; None: never for that."""
    remark: str = ""
    """Where its limits are not what its catalog or its files say, in words."""

    @property
    def synthetic(self) -> bool:
        """Whether its weights are random, made from a real configuration."""
        return self.source.startswith("synthetic:")


class DeviceState(Struct, frozen=True, omit_defaults=True, gc=False):
    """A device and what is known of it now."""

    spec: DeviceSpec
    reading: Reading
    rates: Rates
    """Copying slabs from the RAM tier to it."""
    leaked_bytes: int = 0
    """Bytes of models that left and that the device did not show free again."""
    worker_pid: int | None = None
    context_bytes: int = 0
    """What its worker's CUDA context takes, beside the models; as long as that worker lives."""
    copy_bytes_per_s: float | None = None
    """The fastest copy from the RAM tier that was measured here; the floor of a switch is computed from it."""
    back: Rates | None = None
    """Copying slabs from here back to the RAM tier; None, for as fast as they come, before the first one."""
    binding: Rates = INSTANT
    """Pointing a model's parameters at its slab, messages included, once its worker knows the model."""
    first_binding: Rates = INSTANT
    """The same for a model that is new to its worker: building its modules and a first run come with it."""
    evicting: Rates = INSTANT
    """Unbinding a model and freeing its bytes."""
    warmed: tuple[ModelName, ...] = ()
    """The models that its worker knows: they have been bound since it was started."""


class Slab(Struct, frozen=True):
    """A model's weights in the RAM tier."""

    model: ModelName
    size_bytes: int
    stage: Literal["reading", "filling", "writing back", "kept", "damaged"]
    """`reading`: asked for, and prepared first where that is needed. `filling`: its bytes come from disk, in order.
    `writing back`: they are written back from a device that the model leaves; of no use before all are there. `damaged`: they
    are not those that were prepared; it goes once nobody runs on them."""
    used_s: float
    ahead: str = ""
    """Why it was read before anybody waited for it, in words; empty when somebody did, and once it has been loaded from."""
    box: BoxName = ""
    """In whose RAM it lies; empty where there is only one box."""


class RamTier(Struct, frozen=True, dict=True):
    """The budgeted host copies. Slabs that a CPU resident runs from are charged to the CPU, not to the tier."""

    budget_bytes: int
    """What it may hold now: less than `most_bytes` while the host has not so much."""
    max_models: int
    slabs: tuple[Slab, ...] = ()
    displaced: int = 0
    """How many slabs have left for want of room since the engine started."""
    most_bytes: int | None = None
    """What the configuration gives it; None where the host's memory does not matter, as in simulations."""

    def find(self, model: ModelName) -> Slab | None:
        """The slab of `model`, if there is one."""
        return self._by_model.get(model)

    @cached_property
    def _by_model(self) -> dict[ModelName, Slab]:
        return {slab.model: slab for slab in self.slabs}


class Change(Struct, frozen=True):
    """Something that the operator had done, with every step of it: what undo takes back."""

    id: str
    """Of the submission."""
    at_s: float
    title: str
    steps: tuple[Step, ...]


class PolicyMemory(Struct, frozen=True):
    """What the eviction policy in force remembers beside the demand. Only it reads and writes these figures, and says what they
    mean (`planning.eviction`)."""

    overall: float = 0.0
    of_models: dict[ModelName, float] = field(default_factory=dict)


class State(Struct, frozen=True, dict=True):
    """Devices, models, residents and the RAM tier, in catalog and device order."""

    devices: dict[DeviceId, DeviceState]
    models: dict[ModelName, ModelState]
    ram: RamTier
    residents: tuple[Resident, ...] = ()
    request_count: int = 0
    trust: tuple[float, ...] = ()
    """How far each span of `forecast.demand` is trusted, summing to 1; empty, for equally, before the first request."""
    memory: PolicyMemory = PolicyMemory()
    disk: Rates = field(default_factory=Rates)
    """Reading prepared slabs from disk into the RAM tier."""
    page_cache: Rates | None = None
    """The same where the host's page cache holds them; None, for as from disk, before the first."""
    disk_bytes_per_s: float | None = None
    """The fastest such reading that was measured; the floor of a switch that loads from disk is computed from it."""
    source: Rates = field(default_factory=Rates)
    """Preparing checkpoints, and reading the slabs that come of it."""
    changes: tuple[Change, ...] = ()
    """The operator's last ones that have not been taken back, newest last."""

    def on(self, device: DeviceId) -> tuple[Resident, ...]:
        """Residents of `device`, in the order in which they came."""
        return self._by_device.get(device, ())

    def of(self, model: ModelName) -> tuple[Resident, ...]:
        """Where `model` is, the oldest first: nowhere, or in one place, in two while it moves, on each GPU that has a copy."""
        return self._by_model.get(model, ())

    def footprint_of(self, model: ModelName) -> Footprint:
        """What `model` is charged where it came last, whatever was learned since; else what it is taken to need."""
        residents = self.of(model)
        return residents[-1].footprint if residents else self.models[model].footprint

    def places(self, model: ModelName) -> tuple[DeviceId, ...]:
        """Where `model` is or will be, not counting places that it is leaving."""
        return tuple(r.device for r in self.of(model) if r.stage in ("pending", "loading", "ready"))

    def find(self, model: ModelName, device: DeviceId) -> Resident | None:
        """The resident `model` on `device`, if there is one."""
        return next((r for r in self.of(model) if r.device == device), None)

    def beside(self, model: ModelName, device: DeviceId) -> tuple[Resident, ...]:
        """The copies that stay when `model` leaves `device`: those that are ready on other GPUs, if it is there now."""
        if self.find(model, device) is None:
            return ()
        copies = (r for r in self.of(model) if r.stage == "ready" and r.device != device)
        return tuple(copy for copy in copies if not is_cpu(copy.device))

    def is_pinned(self, resident: Resident) -> bool:
        """Whether its model's pin keeps it where it is: of several copies the one on the pin's device, else the oldest."""
        pin = self.models[resident.model].pin
        if pin is None:
            return False
        staying = [r for r in self.of(resident.model) if r.stage not in ("draining", "leaving")]
        kept = next((r.device for r in staying if r.device == pin.device), staying[0].device if staying else None)
        return kept in (None, resident.device)

    @cached_property
    def tier_slabs(self) -> tuple[Slab, ...]:
        """Those that count against the RAM tier: all but those that a CPU resident runs from, which the CPU's budget pays for."""
        return tuple(
            slab
            for slab in self.ram.slabs
            if not any(is_cpu(r.device) and box_of(r.device) == slab.box for r in self.of(slab.model))
        )

    @cached_property
    def _by_device(self) -> dict[DeviceId, tuple[Resident, ...]]:
        devices: dict[DeviceId, list[Resident]] = {}
        for resident in self.residents:
            devices.setdefault(resident.device, []).append(resident)
        return {device: tuple(residents) for device, residents in devices.items()}

    @cached_property
    def _by_model(self) -> dict[ModelName, tuple[Resident, ...]]:
        models: dict[ModelName, list[Resident]] = {}
        for resident in self.residents:
            models.setdefault(resident.model, []).append(resident)
        return {model: tuple(residents) for model, residents in models.items()}


class Situation(Struct, frozen=True):
    """What a decision is made on: the state, the operator's policy, and the time."""

    state: State
    policy: Policy
    now_s: float
    """Seconds since the epoch."""
