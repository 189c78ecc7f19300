"""NVIDIA cards for the tests, as the driver describes them."""

from __future__ import annotations

from engine.core.sizes import GIB, MIB
from engine.devices.cards import GpuFacts

RESERVED = 256 * MIB


def card(index: int, uuid: str, total_bytes: int | None = 12 * GIB, *, is_partitioned: bool = False) -> GpuFacts:
    """A card whose driver keeps RESERVED for itself."""
    return _facts(index, uuid, f"NVIDIA card {uuid[4:]}", total_bytes, is_partitioned=is_partitioned)


def mig_device(parent: GpuFacts, uuid: str, total_bytes: int = 5 * GIB) -> GpuFacts:
    return _facts(parent.index, uuid, f"{parent.name} MIG", total_bytes, parent_uuid=parent.uuid)


def _facts(
    index: int,
    uuid: str,
    name: str,
    total_bytes: int | None,
    *,
    is_partitioned: bool = False,
    parent_uuid: str | None = None,
) -> GpuFacts:
    return GpuFacts(
        index=index,
        uuid=uuid,
        name=name,
        total_bytes=total_bytes,
        reserved_bytes=None if parent_uuid else RESERVED,
        capability=(8, 0),
        driver_version="580.95.05",
        pcie_generation=None,
        pcie_max_generation=None,
        pcie_width=None,
        pcie_max_width=None,
        is_mig=parent_uuid is not None,
        is_partitioned=is_partitioned,
        parent_uuid=parent_uuid,
    )


A, B = card(0, "GPU-a"), card(1, "GPU-b", 8 * GIB)
TWO_CARDS = (A, B)
PARTITIONED = card(1, "GPU-p", is_partitioned=True)
MIG_1, MIG_2 = mig_device(PARTITIONED, "MIG-1"), mig_device(PARTITIONED, "MIG-2")
