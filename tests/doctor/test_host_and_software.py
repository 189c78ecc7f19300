"""Python, torch, container, memory limits and disk."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.sizes import GIB, MIB
from engine.defaults import DEFAULTS_FOLDER
from engine.devices.control_groups import MemoryLimit
from engine.doctor.examine import examine
from engine.doctor.machine import Config, Disk, DoctorFacts, Torch, TorchBroken, TorchCard, TorchFacts, TorchMissing
from tests.doctor.machines import BARE, DISK, PASCAL_TORCH, SOUND, finding, in_container


@pytest.mark.parametrize(
    ("torch", "found"),
    [
        (TorchMissing(), "torch is not installed"),
        (TorchBroken("killed by SIGILL"), "torch can't be asked: killed by SIGILL"),
        (TorchFacts("2.13.0+cpu", None), "torch 2.13.0+cpu, a build without CUDA"),
        (TorchFacts("2.6.0", "12.4"), "torch 2.6.0"),
    ],
)
def test_each_unusable_torch_is_replaced_by_the_one_for_the_card(torch: Torch, found: str) -> None:
    machine = replace(SOUND, torch=torch)
    assert finding(machine, "torch").found == found
    assert '"torch==2.7.1"' in finding(machine, "torch").fix
    assert not examine(machine).can_run_on_gpu


def test_without_cards_the_newest_torch_is_proposed() -> None:
    assert '"torch>=2.11"' in finding(replace(BARE, torch=TorchMissing()), "torch").fix


def test_an_old_python_is_a_problem() -> None:
    machine = replace(SOUND, host=replace(SOUND.host, python=(3, 10, 4)))
    assert finding(machine, "python").found == "Python 3.10.4 at /srv/citadel/.venv/bin/python"
    assert not examine(machine).can_run_on_gpu


def test_the_programs_own_defaults_are_sound_and_said() -> None:
    found = finding(replace(SOUND, config=Config(str(DEFAULTS_FOLDER))), "config")
    assert found.status == "ok"
    assert "the program's own defaults" in found.found
    assert "citadel init" in found.fix


def test_a_configuration_that_is_refused_is_quoted() -> None:
    machine = replace(SOUND, config=Config(trouble="gpu_allocation.yaml: memory_fraction: 1.4 is given"))
    assert "1.4 is given" in finding(machine, "config").found
    assert not examine(machine).can_run_on_gpu


def test_a_container_without_device_files_was_started_without_the_cards() -> None:
    container = finding(in_container(BARE), "container")
    assert container.found == "a container (docker) without /dev/nvidia*"
    assert "--gpus all" in container.fix


def limited(limit_bytes: int, host_bytes: int) -> DoctorFacts:
    limit = MemoryLimit(limit_bytes, 300 * MIB, "/sys/fs/cgroup/docker/7", "memory.max")
    return replace(
        SOUND, host=replace(SOUND.host, memory_limit=limit), config=replace(SOUND.config, host_bytes=host_bytes)
    )


def test_a_memory_limit_is_named_with_its_file_and_with_what_is_in_use() -> None:
    found = finding(limited(4 * GIB, 3 * GIB), "memory_limit")
    assert found.status == "ok"
    assert found.found == ("4.0 GiB of memory may be used, by /sys/fs/cgroup/docker/7/memory.max; 300 MiB are in use")
    assert finding(SOUND, "memory_limit").status == "not applicable"


def test_a_limit_smaller_than_the_configuration_and_the_engine_is_found_out() -> None:
    found = finding(limited(GIB, 3 * GIB), "memory_limit")
    assert found.status == "warning"
    assert "counts on 3.0 GiB" in found.means
    assert f"Allow {3 * 1024 + 448} MiB or more" in found.fix


def test_page_locking_is_judged_by_the_try_and_not_by_the_limit() -> None:
    refused = TorchCard("card", (6, 1), GIB, page_locking_trouble="operation not permitted")
    machine = replace(SOUND, torch=replace(PASCAL_TORCH, cards=(refused,)))
    assert (
        finding(SOUND, "page_locking").found
        == "CUDA could lock pages of host memory; locked memory is limited to 8 MiB"
    )
    assert finding(machine, "page_locking").status == "warning"
    assert "operation not permitted" in finding(machine, "page_locking").found
    assert "`ulimit -l unlimited`" in finding(machine, "page_locking").fix
    assert examine(machine).can_run_on_gpu


def test_without_cuda_page_locking_does_not_matter() -> None:
    assert finding(BARE, "page_locking").status == "not applicable"


@pytest.mark.parametrize(("shm_bytes", "status"), [(None, "warning"), (64 * MIB, "warning"), (GIB, "ok")])
def test_little_shared_memory_is_worth_a_word(shm_bytes: int | None, status: str) -> None:
    machine = replace(SOUND, host=replace(SOUND.host, shm_bytes=shm_bytes))
    assert finding(machine, "shared_memory").status == status


def test_the_disks_speed_says_what_was_read() -> None:
    assert finding(SOUND, "disk_speed").found == (
        "2684 MB/s, read once and uncached: 256 MiB of the prepared slab in bge-base-float32"
    )


def test_a_slow_or_full_disk_is_a_warning_with_a_remedy() -> None:
    machine = replace(SOUND, disk=replace(DISK, read_s=10.0, free_bytes=GIB))
    assert "comes from here in 40 s" in finding(machine, "disk_speed").means
    assert finding(machine, "disk_room").status == "warning"
    assert examine(machine).can_run_on_gpu


def test_a_speed_that_was_not_measured_is_not_zero() -> None:
    machine = replace(SOUND, disk=Disk("/srv/cache", 100 * GIB, trouble="/srv/cache: Permission denied"))
    assert finding(machine, "disk_speed").found == "not measured: /srv/cache: Permission denied"


def test_a_machine_without_a_driver_has_only_findings_that_apply() -> None:
    skipped = {each.id for each in examine(BARE).findings if each.status == "not applicable"}
    assert skipped == {"driver", "device_nodes", "container", "memory_limit", "cuda", "visible", "page_locking"}
