"""What is asked of the system: files under a root of the test's own, the disk, the configuration and other processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.core.sizes import GIB, MIB
from engine.devices.control_groups import MemoryLimit
from engine.doctor.gathering.config import ask_config
from engine.doctor.gathering.disk import SAMPLE_BYTES, ask_disk
from engine.doctor.gathering.host import ask_host, look_for_driver
from engine.doctor.gathering.torch import ProgramFailed, ask_torch, output_of
from engine.doctor.machine import Slice, Torch, TorchBroken, TorchFacts, TorchMissing
from engine.weights.layout import SLAB_FILE
from tests.settings.config_files import seen_first
from tests.settings.nvidia_cards import TWO_CARDS

ALLOCATION = "devices:\n  virtual:\n    - {memory: 512MiB, backing: ram}\nram_tier: {budget: 1GiB}\n"
NO_ANSWER = "the process that imported it gave no answer"
CATALOG = '{"models": []}'


def write(root: Path, files: dict[str, str]) -> Path:
    """Files under `root`, by their paths."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_an_empty_system_has_no_trace_of_a_driver(tmp_path: Path) -> None:
    traces = look_for_driver(tmp_path)
    assert (traces.kernel_version, traces.nouveau, traces.pci_cards, traces.nodes) == (None, False, 0, ())


@pytest.mark.parametrize(
    "line",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (root@host)",
    ],
)
def test_the_loaded_module_tells_its_version(tmp_path: Path, line: str) -> None:
    write(tmp_path, {"proc/driver/nvidia/version": f"{line}\nGCC version: gcc version 12.2.0\n"})
    assert look_for_driver(tmp_path).kernel_version in ("550.54.14", "580.95.05")


def test_cards_on_the_bus_are_counted_without_their_sound_devices(tmp_path: Path) -> None:
    bus = tmp_path / "sys/bus/pci/devices"
    for slot, vendor, kind in (("1", "0x10de", "0x030000"), ("2", "0x10de", "0x040300"), ("3", "0x8086", "0x030000")):
        write(bus / slot, {"vendor": f"{vendor}\n", "class": f"{kind}\n"})
    write(tmp_path, {"sys/module/nouveau/refcnt": "1"})
    traces = look_for_driver(tmp_path)
    assert (traces.pci_cards, traces.nouveau) == (1, True)


def test_a_plain_machine_and_a_container_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "dev/shm").mkdir(parents=True)
    plain = ask_host(tmp_path)
    assert (plain.container, plain.memory_limit, plain.system) == ("", None, "")
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/kubepods/pod7\n",
            "etc/os-release": 'NAME="Debian"\nID=debian\n',
            "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
            "sys/fs/cgroup/kubepods/pod7/memory.max": f"{512 * MIB}\n",
        },
    )
    host = ask_host(tmp_path)
    assert (host.container, host.system) == ("kubepods", "debian")
    assert host.memory_limit == MemoryLimit(512 * MIB, 0, "/sys/fs/cgroup/kubepods/pod7", "memory.max")


def test_the_disk_is_measured_on_a_prepared_slab_when_there_is_one(tmp_path: Path) -> None:
    slab = tmp_path / "prepared/bge-base-float32" / SLAB_FILE
    slab.parent.mkdir(parents=True)
    slab.write_bytes(bytes(SAMPLE_BYTES))
    disk = ask_disk(tmp_path)
    assert disk.subject == "the prepared slab in bge-base-float32"
    assert 0 < disk.read_bytes <= SAMPLE_BYTES
    assert disk.read_s > 0


def test_without_a_slab_a_file_is_made_for_it_and_removed(tmp_path: Path) -> None:
    disk = ask_disk(tmp_path / "not/made/yet")
    assert (disk.folder, disk.subject) == (str(tmp_path), "a file made for it")
    assert 0 < disk.read_bytes <= SAMPLE_BYTES
    assert os.listdir(tmp_path) == []


def test_the_configuration_tells_its_slices_and_the_host_memory_it_counts_on(tmp_path: Path) -> None:
    folder = write(tmp_path / "config", {"gpu_allocation.yaml": ALLOCATION, "model_gpu_mapping.json": CATALOG})
    config = ask_config(None, {}, tmp_path)
    assert (config.folder, config.trouble) == (str(folder), "")
    assert [(each.device, each.backing, each.memory_bytes) for each in config.slices] == [("gpu0", "ram", 512 * MIB)]
    assert config.host_bytes == 1536 * MIB


def test_the_slices_of_cards_are_told_with_their_card_and_are_no_host_memory(tmp_path: Path) -> None:
    allocation = "devices: {virtual: [{memory: 1GiB, backing: cuda:1}]}\nram_tier: {budget: 1GiB}\n"
    write(tmp_path / "config", {"gpu_allocation.yaml": allocation, "model_gpu_mapping.json": CATALOG})
    config = ask_config(None, {"CUDA_VISIBLE_DEVICES": "1"}, tmp_path, seen_first(TWO_CARDS))
    assert config.slices == (Slice("gpu0", "cuda:1", GIB, "GPU-b"),)
    assert config.host_bytes == GIB


def test_whole_cards_are_no_slices(tmp_path: Path) -> None:
    write(tmp_path / "config", {"gpu_allocation.yaml": "", "model_gpu_mapping.json": CATALOG})
    config = ask_config(None, {}, tmp_path, seen_first(TWO_CARDS))
    assert (config.trouble, config.slices) == ("", ())


def test_slices_that_exceed_their_card_are_a_trouble_with_figures(tmp_path: Path) -> None:
    allocation = "devices: {virtual: [{memory: 6GiB, backing: cuda:1}, {memory: 6GiB, backing: cuda:1}]}\n"
    write(tmp_path / "config", {"gpu_allocation.yaml": allocation, "model_gpu_mapping.json": CATALOG})
    trouble = ask_config(None, {}, tmp_path, seen_first(TWO_CARDS)).trouble
    assert "gpu0, gpu1 take 12288 MiB of cuda:1 together; allowed: at most 7936 MiB" in trouble


def test_a_configuration_that_is_missing_or_wrong_is_a_trouble_in_words(tmp_path: Path) -> None:
    assert "CITADEL_CONFIG names" in ask_config(None, {"CITADEL_CONFIG": "nowhere"}, tmp_path).trouble
    wrong = {"gpu_allocation.yaml": "memory_fraction: 1.4\n", "model_gpu_mapping.json": CATALOG}
    write(tmp_path / "config", wrong)
    assert "memory_fraction" in ask_config(None, {}, tmp_path).trouble


def test_the_word_of_the_dotenv_file_is_heard(tmp_path: Path) -> None:
    write(tmp_path / "config", {"gpu_allocation.yaml": ALLOCATION, "model_gpu_mapping.json": CATALOG})
    write(tmp_path, {".env": "CUDA_ENABLED=false\nCUDA_VISIBLE_DEVICES=0\n"})
    config = ask_config(None, {}, tmp_path)
    assert (config.cuda_enabled, config.cuda_visible_devices) == (False, "0")


async def test_torch_is_asked_in_a_process_of_its_own() -> None:
    torch = await ask_torch(os.environ)
    assert isinstance(torch, TorchFacts)
    assert torch.version.startswith("2.")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("raise ModuleNotFoundError('no', name='torch')", TorchMissing()),
        ("raise OSError('libcudart.so.13 is not there')", TorchBroken("OSError: libcudart.so.13 is not there")),
        ("import os; os.abort()", TorchBroken(f"{NO_ANSWER}: it was killed by SIGABRT")),
        ("import sys; sys.exit('no CPU for it')", TorchBroken(f"{NO_ANSWER}: it ended with status 1: no CPU for it")),
        (
            "print('hello'); raise OSError",
            TorchBroken("its answer makes no sense: JSON is malformed: invalid character (byte 0)"),
        ),
    ],
)
async def test_a_torch_that_is_missing_damaged_or_deadly_is_an_answer(tmp_path: Path, text: str, answer: Torch) -> None:
    write(tmp_path / "torch", {"__init__.py": text})
    assert await ask_torch({**os.environ, "PYTHONPATH": str(tmp_path)}) == answer


async def test_a_program_without_an_answer_is_ended_at_its_deadline(tmp_path: Path) -> None:
    write(tmp_path, {"mute.py": "import signal\nsignal.pause()\n"})
    with pytest.raises(ProgramFailed, match="no answer within 0 s"):
        await output_of("mute", {**os.environ, "PYTHONPATH": str(tmp_path)}, timeout_s=0.2)
    with pytest.raises(ProgramFailed, match=r"ended with status 1: .*no_such_program"):
        await output_of("no_such_program", os.environ, timeout_s=30)
