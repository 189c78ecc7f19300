"""What is known of the machine before anything is judged: plain facts, each with the reason when it could not be had."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from engine.core.devices import Health
from engine.devices.control_groups import MemoryLimit
from engine.devices.troubles import NvmlState

Capability: TypeAlias = tuple[int, int]
"""A card's compute capability, such as (6, 1); tuples compare as capabilities do."""


class TorchCard(Struct, frozen=True):
    """A card as torch sees it."""

    name: str
    capability: Capability
    total_bytes: int
    trouble: str = ""
    """Why a small sum did not run on it; empty when it did."""
    page_locking_trouble: str = ""
    """Why CUDA refused to page-lock host memory; empty when it did not."""


class TorchFacts(Struct, frozen=True, tag="facts"):
    """What an installed torch says of itself and of the cards."""

    version: str
    cuda: str | None
    """CUDA version that it was built for; None for a CPU build."""
    architectures: tuple[str, ...] = ()
    """As `torch.cuda.get_arch_list()` has them: `sm_60`, `compute_120`, …"""
    available: bool = False
    trouble: str = ""
    """What torch said about CUDA while it looked for it."""
    cards: tuple[TorchCard, ...] = ()
    """In the order of CUDA ordinals."""


class TorchMissing(Struct, frozen=True, tag="missing"):
    """No torch in this Python."""


class TorchBroken(Struct, frozen=True, tag="broken"):
    """A torch that can't be asked."""

    reason: str


Torch: TypeAlias = TorchFacts | TorchMissing | TorchBroken


class PcieLink(Struct, frozen=True):
    """A card's way to the host, now and at its best; a card at rest often lowers its generation."""

    generation: int | None = None
    newest_generation: int | None = None
    lanes: int | None = None
    most_lanes: int | None = None


class CardFacts(Struct, frozen=True):
    """A card that the environment leaves visible, as NVML sees it, or as it was when it was last seen."""

    number: int
    """In its device's name: the one that it keeps."""
    name: str
    uuid: str
    total_bytes: int | None
    capability: Capability | None
    health: Health = "ok"
    reason: str = ""
    pcie: PcieLink = PcieLink()
    ordinal: int | None = None
    """As torch counts the cards that it is shown here; None for a lost one."""
    bus_id: str | None = None
    lost_since_s: float | None = None
    """When it was last known to be there, seconds since the epoch; None when it is there."""

    @property
    def id(self) -> str:
        return f"gpu{self.number}"


class DriverFacts(Struct, frozen=True):
    """What NVML, the kernel and the CUDA library say of the driver."""

    state: NvmlState
    words: str = ""
    """What NVML said when the state is `failed`."""
    cards: int = 0
    """Cards that NVML lists and that answered, each with its MIG devices as one."""
    silent_cards: tuple[str, ...] = ()
    """Cards that NVML counts and that did not answer, and why."""
    version: str | None = None
    """Of the driver's libraries, such as 580.95.05."""
    kernel_version: str | None = None
    """Of the kernel module that is loaded; None when none is."""
    cuda: tuple[int, int] | None = None
    """The newest CUDA version that the driver runs; None when its library libcuda.so.1 can't be loaded."""
    nouveau: bool = False
    """Whether the free driver, which knows no CUDA, has taken the cards."""
    pci_cards: int = 0
    """NVIDIA display devices on the PCI bus, whatever any driver says."""
    nodes: tuple[str, ...] = ()
    """Device files /dev/nvidia* that exist."""
    forbidden_nodes: tuple[str, ...] = ()
    """Those of them that this user may not read and write."""

    @property
    def expects_no_card(self) -> bool:
        """Whether nothing hints at an NVIDIA card: none is on the PCI bus, and nobody has installed a driver."""
        return self.state == "library_missing" and self.pci_cards == 0


class Host(Struct, frozen=True):
    """The system around us."""

    python: tuple[int, int, int]
    executable: str
    """The Python that packages have to be installed for."""
    system: str = ""
    """The distribution's id in /etc/os-release: debian, ubuntu, fedora, …"""
    user: str = ""
    container: str = ""
    """Which hint says that this is a container; empty on a plain machine."""
    memory_limit: MemoryLimit | None = None
    """The smallest of our control groups, a container's or a service's; None when there is none."""
    shm_bytes: int | None = None
    """Size of /dev/shm; None when there is none."""
    memlock_bytes: int | None = None
    """How much this user may lock; None for no limit."""


class Disk(Struct, frozen=True):
    """The disk of the folder that prepared models are kept in."""

    folder: str
    free_bytes: int
    read_bytes: int = 0
    read_s: float = 0.0
    subject: str = ""
    """What was read to measure the speed: a prepared slab, or a file made for it."""
    trouble: str = ""
    """Why the speed was not measured."""


class Slice(Struct, frozen=True):
    """Memory of a card or of the host that the configuration makes a device of."""

    device: str
    backing: str
    memory_bytes: int
    card_uuid: str | None = None
    """Of the card; None in host RAM."""


class Config(Struct, frozen=True):
    """What the configuration says that matters here."""

    folder: str = ""
    trouble: str = ""
    """Why it can't be used."""
    warnings: tuple[str, ...] = ()
    slices: tuple[Slice, ...] = ()
    host_bytes: int = 0
    """Host RAM that it counts on: the RAM tier and the virtual GPUs in host RAM."""
    cuda_enabled: bool = True
    cuda_visible_devices: str | None = None


class DoctorFacts(Struct, frozen=True):
    """Everything that the checks judge."""

    host: Host
    torch: Torch
    driver: DriverFacts
    disk: Disk
    config: Config
    cards: tuple[CardFacts, ...] = ()
    """Those that CUDA_VISIBLE_DEVICES leaves visible, lost ones included, in the order of the PCI bus."""
    hidden_cards: int = 0
