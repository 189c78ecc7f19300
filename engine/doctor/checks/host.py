"""The system around the engine: container, shared and locked memory, and the disk that prepared models lie on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.core.sizes import GIB, MIB, format_room, format_size
from engine.doctor.checks.remedies import WITH_GPUS
from engine.doctor.finding import Finding
from engine.doctor.machine import DoctorFacts, TorchFacts
from engine.settings.fit import OWN_BYTES

LITTLE_SHM_BYTES: Final = 64 * MIB
SLOW_DISK_BYTES_PER_S: Final = 200e6
LITTLE_DISK_BYTES: Final = 2 * GIB


def check_container(machine: DoctorFacts) -> Iterator[Finding]:
    host = machine.host
    if not host.container:
        yield Finding("container", "not applicable", "nothing hints at a container")
    elif not machine.driver.nodes:
        means = "If its host has NVIDIA cards, they were not handed on to it."
        yield Finding("container", "warning", f"a container ({host.container}) without /dev/nvidia*", means, WITH_GPUS)
    else:
        yield Finding(
            "container", "ok", f"a container ({host.container}) with {len(machine.driver.nodes)} device files"
        )


def check_memory_limit(machine: DoctorFacts) -> Iterator[Finding]:
    """What a container, a service or a job may use: budgets are made of that, and follow it."""
    limit, needs_bytes = machine.host.memory_limit, machine.config.host_bytes + OWN_BYTES
    if limit is None:
        yield Finding("memory_limit", "not applicable", "no control group limits the memory")
        return
    used = f"{format_size(limit.used_bytes)} are in use"
    found = f"{format_room(limit.limit_bytes)} of memory may be used, by {limit.group}/{limit.file}; {used}"
    if limit.limit_bytes >= needs_bytes:
        yield Finding("memory_limit", "ok", found)
        return
    means = (
        f"The configuration counts on {format_size(machine.config.host_bytes)}, and the engine itself takes "
        f"{format_size(OWN_BYTES)}; budgets shrink as memory runs out, and loads that do not fit are refused."
    )
    fix = (
        f"Allow {-(-needs_bytes // MIB)} MiB or more (a container's `--memory`, a service's MemoryMax, a job's --mem), or lower "
        "ram_tier.budget and the virtual GPUs"
    )
    yield Finding("memory_limit", "warning", found, means, fix)


def check_shared_memory(machine: DoctorFacts) -> Iterator[Finding]:
    shm_bytes = machine.host.shm_bytes
    means = "Citadel's RAM tier is a memory file, which this does not limit; other users of shared memory may fail."
    fix = "In a container, start it with `--shm-size=1g`; else `sudo mount -o remount,size=1g /dev/shm`"
    if shm_bytes is None:
        yield Finding("shared_memory", "warning", "there is no /dev/shm", means, fix)
    elif shm_bytes <= LITTLE_SHM_BYTES:
        yield Finding("shared_memory", "warning", f"/dev/shm has only {format_room(shm_bytes)}", means, fix)
    else:
        yield Finding("shared_memory", "ok", f"/dev/shm has {format_room(shm_bytes)}")


def check_page_locking(machine: DoctorFacts) -> Iterator[Finding]:
    """Whether CUDA may lock the RAM tier's pages: tried, where there is CUDA; the limit alone does not decide it."""
    limit_bytes, torch = machine.host.memlock_bytes, machine.torch
    limit = "unlimited" if limit_bytes is None else f"limited to {format_room(limit_bytes)}"
    if not isinstance(torch, TorchFacts) or not torch.cards:
        yield Finding(
            "page_locking", "not applicable", f"no CUDA to try it with; locked memory is {limit} for this user"
        )
    elif refused := next((card.page_locking_trouble for card in torch.cards if card.page_locking_trouble), ""):
        means = "Copies to the cards run from pageable memory, at about half the speed or less."
        fix = (
            "Raise the limit: `ulimit -l unlimited`, in a container `--ulimit memlock=-1`, then start the engine again"
        )
        yield Finding(
            "page_locking", "warning", f"CUDA can't lock pages: {refused}; locked memory is {limit}", means, fix
        )
    else:
        yield Finding("page_locking", "ok", f"CUDA could lock pages of host memory; locked memory is {limit}")


def check_disk(machine: DoctorFacts) -> Iterator[Finding]:
    disk = machine.disk
    if disk.trouble:
        yield Finding("disk_speed", "warning", f"not measured: {disk.trouble}")
    else:
        rate = disk.read_bytes / disk.read_s
        found = f"{rate / 1e6:.0f} MB/s, read once and uncached: {format_size(disk.read_bytes)} of {disk.subject}"
        slow = rate < SLOW_DISK_BYTES_PER_S
        means = f"A model of 1 GiB comes from here in {GIB / rate:.0f} s; from the RAM tier it takes a fraction of one."
        fix = "Put the cache on a faster disk: `export CITADEL_HOME=/path/on/it`, or raise ram_tier.budget"
        yield Finding("disk_speed", "warning" if slow else "ok", found, means if slow else "", fix if slow else "")
    free = f"{format_room(disk.free_bytes)} free in {disk.folder}"
    if disk.free_bytes < LITTLE_DISK_BYTES:
        means = "Preparing a model writes a copy of its weights there."
        yield Finding("disk_room", "warning", free, means, "Free some room, or `export CITADEL_HOME=/path/elsewhere`")
    else:
        yield Finding("disk_room", "ok", free)
