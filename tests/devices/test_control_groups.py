"""Memory limits of control groups, on made-up systems: both versions, nested, in namespaces, and where nothing can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.sizes import GIB, MIB
from engine.devices.control_groups import MemoryLimit, memory_limits
from engine.devices.host import HostMemory, read_host_memory

SECOND = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
FIRST = (
    "34 31 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
UNIFIED = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
NONE_OF_THE_FIRST = "9223372036854771712\n"
MEMINFO = f"MemTotal: {8 * GIB >> 10} kB\nMemFree: 1 kB\nMemAvailable: {6 * GIB >> 10} kB\n"


def system(root: Path, mounts: str, groups: str, files: dict[str, str | int]) -> Path:
    """A root with these mounts, this process in these groups, and files beneath /sys/fs/cgroup."""
    within = {f"sys/fs/cgroup/{name}": f"{text}\n" for name, text in files.items()}
    proc = {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups, "proc/meminfo": MEMINFO}
    for name, text in {**proc, **within}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def limits(root: Path) -> dict[str, int]:
    return {f"{limit.group}/{limit.file}": limit.limit_bytes for limit in memory_limits(root)}


def test_every_group_up_to_the_topmost_counts_and_the_smallest_is_the_hosts_memory(tmp_path: Path) -> None:
    files: dict[str, str | int] = {
        "job/memory.max": 2 * GIB,
        "job/memory.current": 500 * MIB,
        "job/step/memory.max": "max",
        "job/step/memory.high": 3 * GIB,
        "job/step/task/memory.max": 4 * GIB,
    }
    root = system(tmp_path, SECOND, "0::/job/step/task\n", files)
    top = "/sys/fs/cgroup/job"
    assert limits(root) == {
        f"{top}/step/task/memory.max": 4 * GIB,
        f"{top}/step/memory.high": 3 * GIB,
        f"{top}/memory.max": 2 * GIB,
    }
    smallest = MemoryLimit(2 * GIB, 500 * MIB, top, "memory.max")
    assert read_host_memory(root) == HostMemory(2 * GIB, 2 * GIB - 500 * MIB, smallest)


def test_the_fullest_group_says_what_is_left_though_another_is_smaller(tmp_path: Path) -> None:
    files: dict[str, str | int] = {
        "a/memory.max": 4 * GIB,
        "a/memory.current": 4 * GIB - 10 * MIB,
        "a/b/memory.max": 1 * GIB,
        "a/b/memory.current": 20 * MIB,
    }
    host = read_host_memory(system(tmp_path, SECOND, "0::/a/b\n", files))
    assert (host.total_bytes, host.available_bytes) == (GIB, 10 * MIB)


def test_pages_of_files_are_not_in_use_but_shared_memory_is(tmp_path: Path) -> None:
    stat = f"anon {100 * MIB}\nfile {700 * MIB}\nshmem {300 * MIB}\ninactive_file {150 * MIB}\nactive_file {250 * MIB}"
    files: dict[str, str | int] = {"memory.max": GIB, "memory.current": 800 * MIB, "memory.stat": stat}
    host = read_host_memory(system(tmp_path, SECOND, "0::/\n", files))
    assert host.available_bytes == GIB - 400 * MIB


def test_groups_of_the_first_version_tell_a_huge_number_for_no_limit(tmp_path: Path) -> None:
    files: dict[str, str | int] = {
        "memory/memory.limit_in_bytes": NONE_OF_THE_FIRST,
        "memory/docker/7/memory.limit_in_bytes": GIB,
        "memory/docker/7/memory.usage_in_bytes": 300 * MIB,
        "memory/docker/7/memory.stat": f"inactive_file 1\ntotal_inactive_file {100 * MIB}",
        "memory/docker/memory.limit_in_bytes": NONE_OF_THE_FIRST,
    }
    root = system(tmp_path, FIRST, "5:cpu,cpuacct:/\n4:memory:/docker/7\n", files)
    expected = MemoryLimit(GIB, 200 * MIB, "/sys/fs/cgroup/memory/docker/7", "memory.limit_in_bytes")
    assert memory_limits(root) == (expected,)


def test_ancestors_that_a_container_of_the_first_version_does_not_see_are_told_by_its_statistics(
    tmp_path: Path,
) -> None:
    files: dict[str, str | int] = {
        "memory/memory.limit_in_bytes": NONE_OF_THE_FIRST,
        "memory/memory.stat": f"hierarchical_memory_limit {2 * GIB}",
    }
    mounts = FIRST.replace(" / /sys/fs/cgroup/memory", " /docker/7 /sys/fs/cgroup/memory")
    root = system(tmp_path, mounts, "4:memory:/docker/7\n", files)
    assert list(limits(root).values()) == [2 * GIB]


def test_where_both_versions_are_mounted_the_one_with_a_memory_controller_limits(tmp_path: Path) -> None:
    files: dict[str, str | int] = {"memory/a/memory.limit_in_bytes": GIB, "unified/b/cgroup.procs": ""}
    root = system(tmp_path, FIRST + UNIFIED, "4:memory:/a\n0::/b\n", files)
    assert limits(root) == {"/sys/fs/cgroup/memory/a/memory.limit_in_bytes": GIB}


@pytest.mark.parametrize(
    ("top", "group"),
    [
        ("/", "/"),  # a namespace of its own
        ("/docker/7", "/docker/7"),  # none, and only its own group is mounted
        ("/", "/kubepods/pod7/9"),  # the host's path, which is not beneath the mount
        ("/", "/../other"),  # of another namespace
        ("/docker/7", "/docker/77"),
    ],
)
def test_a_container_reads_the_group_that_is_mounted(tmp_path: Path, top: str, group: str) -> None:
    mounts = SECOND.replace(" / /sys", f" {top} /sys")
    root = system(tmp_path, mounts, f"0::{group}\n", {"memory.max": GIB})
    assert limits(root) == {"/sys/fs/cgroup/memory.max": GIB}


def test_a_mount_point_with_a_space_is_found(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        SECOND.replace("/sys/fs/cgroup", "/sys/fs/cgroup/my\\040groups"),
        "0::/\n",
        {"my groups/memory.max": GIB},
    )
    assert limits(root) == {"/sys/fs/cgroup/my groups/memory.max": GIB}


@pytest.mark.parametrize("text", ["max", "", "-1", "lots", NONE_OF_THE_FIRST, "9" * 500])
def test_what_is_no_limit_limits_nothing(tmp_path: Path, text: str) -> None:
    root = system(tmp_path, SECOND, "0::/\n", {"memory.max": text, "memory.high": text})
    assert read_host_memory(root) == HostMemory(8 * GIB, 6 * GIB)


@pytest.mark.parametrize(
    ("mounts", "groups"), [("", ""), ("\n - \nx - cgroup2", "0\n:::\n"), (SECOND, ""), ("", "0::/\n")]
)
def test_what_can_not_be_understood_limits_nothing(tmp_path: Path, mounts: str, groups: str) -> None:
    assert limits(system(tmp_path, mounts, groups, {"memory.max": GIB})) == {}


def test_files_that_nobody_may_read_limit_nothing(tmp_path: Path) -> None:
    root = system(tmp_path, SECOND, "0::/\n", {})
    (root / "sys/fs/cgroup/memory.max").mkdir(parents=True)  # reading it fails for root, too
    assert limits(root) == {}


def test_a_limit_that_changes_is_read_anew(tmp_path: Path) -> None:
    root = system(tmp_path, SECOND, "0::/\n", {"memory.max": GIB})
    assert read_host_memory(root).all_of_it == "the memory limit in /sys/fs/cgroup/memory.max"
    (root / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert read_host_memory(root).all_of_it == "which is all that this host has"


def test_a_limit_above_what_the_machine_has_is_none(tmp_path: Path) -> None:
    assert read_host_memory(system(tmp_path, SECOND, "0::/\n", {"memory.max": 9 * GIB})).limit is None
