"""Machines for the checks to judge: a sound one, and the ways in which others differ from it."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.sizes import GIB, MIB
from engine.doctor.examine import examine
from engine.doctor.finding import Finding
from engine.doctor.machine import CardFacts, Config, Disk, DoctorFacts, DriverFacts, Host, Slice, TorchCard, TorchFacts

PASCAL_ARCHITECTURES = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
NEW_ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")

HOST = Host((3, 11, 9), "/srv/citadel/.venv/bin/python", "debian", "ada", shm_bytes=8 * GIB, memlock_bytes=8 * MIB)
DRIVER = DriverFacts(
    "ok",
    version="580.95.05",
    kernel_version="580.95.05",
    cuda=(13, 0),
    cards=1,
    pci_cards=1,
    nodes=("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"),
)
GT_1030 = CardFacts(0, "NVIDIA GeForce GT 1030", "GPU-1030", 2 * GIB, (6, 1), ordinal=0)
PASCAL_TORCH = TorchFacts(
    "2.7.1", "12.6", PASCAL_ARCHITECTURES, True, cards=(TorchCard("NVIDIA GeForce GT 1030", (6, 1), 2 * GIB),)
)
NEW_TORCH = replace(PASCAL_TORCH, version="2.13.0", cuda="13.0", architectures=NEW_ARCHITECTURES)
DISK = Disk("/srv/cache", 100 * GIB, 256 * MIB, 0.1, "the prepared slab in bge-base-float32")
SOUND = DoctorFacts(HOST, PASCAL_TORCH, DRIVER, DISK, Config("/srv/citadel/config"), (GT_1030,))
"""A GT 1030 with the torch and the driver that it needs."""

BARE = replace(
    SOUND, driver=DriverFacts("library_missing"), cards=(), torch=replace(PASCAL_TORCH, available=False, cards=())
)
"""No driver, no card."""


def in_container(machine: DoctorFacts) -> DoctorFacts:
    return replace(machine, host=replace(machine.host, container="docker"))


def with_driver(machine: DoctorFacts, driver: DriverFacts) -> DoctorFacts:
    return replace(machine, driver=driver, cards=machine.cards if driver.state == "ok" else ())


def with_card(machine: DoctorFacts, card: CardFacts) -> DoctorFacts:
    return replace(machine, cards=(card,))


def with_slices(machine: DoctorFacts, *slices: Slice) -> DoctorFacts:
    return replace(machine, config=replace(machine.config, slices=slices))


def finding(machine: DoctorFacts, check: str) -> Finding:
    """The one finding with this id."""
    (found,) = [each for each in examine(machine).findings if each.id == check]
    return found
