"""The settings: what `gpu_allocation.yaml` may say, and what the engine runs on once catalog and environment are added.

The structs are the rules: each field's type and description is what its value is checked against.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct, field

from engine.core.models import ModelSpec
from engine.core.names import DeviceId
from engine.core.policy import Policy
from engine.core.sizes import MIB, parse_size
from engine.core.tasks import TaskKind

DAY_S: Final = 86_400
RAM: Final = "ram"


class Size(int):
    """Bytes; written in files as a number and a unit."""


def decode_size(kind: type, value: object) -> object:
    """msgspec's hook for `Size`: at least 1 MiB, and no more than any machine has."""
    if kind is not Size:
        raise NotImplementedError(f"no reader for {kind}")
    if not isinstance(value, str):
        raise ValueError("a size is text")
    try:
        size_bytes = parse_size(value)
    except OverflowError:
        raise ValueError("larger than any machine") from None
    if not MIB <= size_bytes <= 1 << 50:
        raise ValueError("not between 1 MiB and 1024 TiB")
    return Size(size_bytes)


SizeText: TypeAlias = Annotated[
    Size, Meta(description="a size of at least 1MiB, such as 6GiB or 512MiB (units B, KiB, MiB, GiB, TiB)")
]
Fraction: TypeAlias = Annotated[float, Meta(gt=0, le=1, description="a number over 0 and at most 1")]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=DAY_S, description=f"seconds, over 0 and at most {DAY_S}")]
SilentSeconds: TypeAlias = Annotated[
    float, Meta(ge=3, le=DAY_S, description=f"seconds, at least 3 and at most {DAY_S}: workers are asked once a second")
]
Retries: TypeAlias = Annotated[int, Meta(ge=0, le=10, description="a whole number from 0 to 10")]
QueueLength: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")]
ModelCount: TypeAlias = Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]
FileCount: TypeAlias = Annotated[int, Meta(ge=1, le=100, description="a whole number from 1 to 100")]
RequestCount: TypeAlias = Annotated[int, Meta(ge=1, le=100_000, description="a whole number from 1 to 100000")]
ListenAddress: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^(|(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5})\Z",
        description="HOST:PORT, such as 127.0.0.1:8484 or [::1]:8484; empty for nowhere",
    ),
]
HostName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]+\Z", description="a host's name, without a port")]
Origin: TypeAlias = Annotated[
    str, Meta(pattern=r"^https?://[^/\s]+\Z", description="an origin, such as https://app.example")
]
BackingSpec: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^(ram|cuda:(0|[1-9][0-9]{0,2}))\Z",
        description="ram for host RAM, or cuda:N for the NVIDIA card N, such as cuda:0",
    ),
]


class VirtualGpu(Struct, frozen=True):
    """A slice of memory that behaves as a GPU."""

    memory_bytes: SizeText = field(name="memory")
    backing: BackingSpec = RAM
    """Whose memory it is a slice of: host RAM, or a card."""

    @property
    def ordinal(self) -> int | None:
        """Of the card that it is a slice of; None when it is a slice of host RAM."""
        return None if self.backing == RAM else int(self.backing.removeprefix("cuda:"))


class CardSpec(Struct, frozen=True):
    """An NVIDIA card, or a MIG device of one, that can run models."""

    uuid: str
    title: str
    memory_bytes: int
    """Without what the driver keeps for itself."""
    ordinal: int
    """The number that it keeps, whatever the environment hides and whichever others answer (`engine.devices.inventory`)."""
    capability: tuple[int, int] | None = None
    """CUDA compute capability; None where the driver does not tell."""
    bus_id: str | None = None
    lost_since_s: float | None = None
    """When it was last known to be there, seconds since the epoch; None when it is there."""

    @property
    def backing(self) -> str:
        return f"cuda:{self.ordinal}"


VirtualGpus: TypeAlias = Annotated[
    tuple[VirtualGpu, ...],
    Meta(max_length=16, description="a list of at most 16, such as [{memory: 6GiB, backing: ram}]"),
]
DEFAULT_GPUS: Final = (VirtualGpu(Size(640 * MIB)), VirtualGpu(Size(640 * MIB)))


class DeviceSettings(Struct, frozen=True):
    """Which devices there are."""

    virtual: VirtualGpus | None = None
    """Virtual GPUs, named gpu0, gpu1, … in this order. None: the machine's NVIDIA cards, or DEFAULT_GPUS when it has none."""
    cpu_memory_bytes: SizeText | None = field(name="cpu_memory", default=None)
    """Bytes that models on the CPU may take; None: half of the host's RAM."""


class RamTierSettings(Struct, frozen=True):
    """Weights kept in host RAM, from where they load fast."""

    budget_bytes: SizeText | None = field(name="budget", default=None)
    """None: 2 GiB, or what a small host has for it."""
    max_models: ModelCount = 2


class Loading(Struct, frozen=True):
    """How long a load may take, and what happens then."""

    timeout_s: Seconds = 120.0
    """For one attempt, from the first byte to ready."""
    retries: Retries = 1
    """Attempts after a failed one."""
    queue_deadline_s: Seconds = 30.0
    """A request waits so long for room, then it is refused."""
    drain_deadline_s: Seconds = 60.0
    """A victim's leases may last so long, then the plan is given up."""


class RequestDeadlines(Struct, frozen=True):
    """How long a request may take from when it is asked until it is answered, by its model's task; loading is part of it."""

    embedding: Seconds = 120.0
    rerank: Seconds = 120.0
    classify: Seconds = 120.0
    generation: Seconds = 600.0

    def of(self, kind: TaskKind) -> float:
        """Seconds for a request to a model that is for this."""
        return float(getattr(self, kind))


class RequestSettings(Struct, frozen=True):
    """How long requests may take, and how many may wait."""

    deadline_s: RequestDeadlines = RequestDeadlines()
    queue_rows: QueueLength = 8192
    """Rows to embed, to rerank or to classify that may wait for one model or run on it."""
    queue_generations: QueueLength = 256
    """Texts to be written that may."""
    queue_wait_s: Seconds = 60.0
    """A request that would wait longer for those before it is refused."""


class MonitoringSettings(Struct, frozen=True):
    """How often devices are read, and when a worker counts as hung."""

    interval_s: Seconds = 30.0
    """Between two lines of the recorded monitor."""
    sample_s: Seconds = 1.0
    """Between two readings for the screens and the decisions."""
    not_answering_s: SilentSeconds = 15.0
    """A worker that has given no sign of life for so long is replaced."""
    step_deadline_s: Seconds = 120.0
    """And so is one that runs a single batch, or writes a single token, for longer."""


class JournalSettings(Struct, frozen=True):
    """The log of switches and decisions."""

    max_bytes: SizeText = field(name="max_size", default=Size(4 * MIB))
    """A file that has grown so large is closed and the next begun."""
    files: FileCount = 5
    """Closed files that are kept."""


class Recording(Struct, frozen=True):
    """The record of what was asked of the engine, and that of its devices' memory: each as large as this says."""

    max_bytes: SizeText = field(name="max_size", default=Size(4 * MIB))
    """A file that has grown so large is closed and the next begun."""
    files: FileCount = 5
    """Closed files that are kept."""


class HttpSettings(Struct, frozen=True):
    """The door for applications."""

    listen: ListenAddress = ""
    """Empty: nothing listens but the engine's own socket."""
    keys: Annotated[Literal["required", "none"], Meta(description="required, or none on a loopback address")] = (
        "required"
    )
    requests_per_key: RequestCount = 64
    """Under way at once."""
    max_body_bytes: SizeText = field(name="max_body", default=Size(16 * MIB))
    hosts: Annotated[
        tuple[HostName, ...], Meta(max_length=100, description="a list of names, such as [models.lan]")
    ] = ()
    """By which the door may be called, beside localhost and addresses in figures."""
    origins: Annotated[
        tuple[Origin, ...], Meta(max_length=100, description="a list of origins, such as [https://app.example]")
    ] = ()
    """Of web pages that may ask from within a browser."""


class Allocation(Struct, frozen=True):
    """`gpu_allocation.yaml`."""

    devices: DeviceSettings = DeviceSettings()
    memory_fraction: Fraction = 0.8
    """Share of each GPU's memory that the engine may fill."""
    ram_tier: RamTierSettings = RamTierSettings()
    policy: Policy = Policy()
    loading: Loading = Loading()
    requests: RequestSettings = RequestSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    journal: JournalSettings = JournalSettings()
    recording: Recording = Recording()
    http: HttpSettings = HttpSettings()
    restore_after_restart: bool = True
    """Whether a started engine loads what was resident when the last one ended."""


class Settings(Allocation, frozen=True, kw_only=True):
    """All that an engine is told at its start, checked: the allocation with the environment's word in it, and the catalog."""

    folder: str
    """Where the configuration was read from."""
    gpus: dict[DeviceId, VirtualGpu | CardSpec]
    """Those that the environment leaves visible: virtual GPUs under the names that they have in the file, cards by the number
    that each keeps; lost ones are among them."""
    cards: dict[int, CardSpec] = {}
    """All of the machine that can run models, visible or not, lost or not, by their ordinals."""
    models: tuple[ModelSpec, ...]
    warnings: tuple[str, ...] = ()
    """Accepted, but the operator should know."""

    @property
    def card_uuids(self) -> dict[DeviceId, str]:
        """By device, the card that it is or is a slice of; devices in host RAM are left out."""
        ordinals = {name: gpu.ordinal for name, gpu in self.gpus.items()}
        return {name: self.cards[ordinal].uuid for name, ordinal in ordinals.items() if ordinal is not None}
