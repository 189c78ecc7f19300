"""Every way in which a driver can be missing or broken has its own words and its own remedy."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.sizes import GIB
from engine.doctor.examine import examine
from engine.doctor.machine import Config, DoctorFacts, DriverFacts, Slice, TorchFacts, TorchMissing
from tests.doctor.machines import (
    BARE,
    DRIVER,
    NEW_TORCH,
    PASCAL_TORCH,
    SOUND,
    finding,
    in_container,
    with_driver,
    with_slices,
)

NO_CARDS_SEEN = DriverFacts("no_devices", version="590.44.01", kernel_version="590.44.01", pci_cards=1)
NOUVEAU = DriverFacts("driver_not_loaded", nouveau=True, pci_cards=1)


def bare(driver: DriverFacts) -> DoctorFacts:
    return with_driver(BARE, driver)


@pytest.mark.parametrize(
    ("machine", "found", "means", "fix"),
    [
        (
            bare(DriverFacts("library_missing", pci_cards=2)),
            "no NVIDIA driver",
            "PCI bus: 2",
            "apt install nvidia-driver",
        ),
        (
            bare(DriverFacts("driver_not_loaded", pci_cards=1)),
            "kernel module is not loaded",
            "",
            "`sudo modprobe nvidia`",
        ),
        (bare(NOUVEAU), "kernel module is not loaded", "nouveau", "blacklist nouveau"),
        (bare(DriverFacts("driver_not_loaded")), "kernel module is not loaded", "No NVIDIA card", "else nothing needs"),
        (in_container(bare(NOUVEAU)), "kernel module is not loaded", "container's host", "--gpus all"),
        (
            bare(DriverFacts("version_mismatch", kernel_version="570.1")),
            "(the module is 570.1)",
            "updated",
            "`sudo reboot`",
        ),
        (
            in_container(bare(DriverFacts("version_mismatch"))),
            "of different versions",
            "host's",
            "Start the container again",
        ),
        (bare(DriverFacts("no_permission")), "denies this user", "", "`sudo usermod -aG video ada`"),
        (in_container(bare(DriverFacts("no_permission"))), "denies this user", "", "--gpus all"),
        (bare(DriverFacts("no_devices", version="580.1")), "sees no card", "No NVIDIA card", "slot"),
        (bare(DriverFacts("no_devices", version="580.1", pci_cards=1)), "sees no card", "PCI bus: 1", "dmesg"),
        (bare(NO_CARDS_SEEN), "the driver 590.44.01 runs, but sees no card", "580 was the last", "go back"),
        (bare(DriverFacts("failed", "NVML answered Unknown Error")), "NVML answered Unknown Error", "", "`nvidia-smi`"),
    ],
)
def test_each_broken_driver_is_named_with_its_remedy(machine: DoctorFacts, found: str, means: str, fix: str) -> None:
    driver = finding(machine, "driver")
    assert driver.status == "problem"
    assert found in driver.found
    assert means in driver.means
    assert fix in driver.fix
    assert not examine(machine).can_run_on_gpu


CPU_TORCH = TorchFacts("2.13.0+cpu", None)


@pytest.mark.parametrize("machine", [BARE, in_container(BARE), replace(BARE, torch=CPU_TORCH)])
def test_a_machine_without_a_card_is_well_and_nothing_is_to_be_installed(machine: DoctorFacts) -> None:
    examination = examine(machine)
    assert (examination.is_well, examination.can_run_on_gpu) == (True, False)
    assert examination.answer == "no NVIDIA card is here: models run on the CPU"
    assert "No NVIDIA card is on the PCI bus" in finding(machine, "driver").means
    assert not [each for each in examination.findings if each.status == "problem" or "install" in each.fix]


def test_virtual_gpus_are_named_where_there_is_no_card() -> None:
    machine = with_slices(BARE, Slice("gpu0", "ram", GIB), Slice("gpu1", "ram", GIB))
    assert examine(machine).answer.endswith(": models run on the virtual GPUs gpu0, gpu1 and on the CPU")


def test_without_a_card_what_else_is_wrong_still_counts() -> None:
    assert not examine(replace(BARE, torch=TorchMissing())).is_well
    assert not examine(replace(BARE, config=Config(trouble="memory_fraction: 1.4 is given"))).is_well


def test_a_card_without_a_driver_still_wants_one_and_a_torch_with_cuda() -> None:
    machine = replace(bare(DriverFacts("library_missing", pci_cards=1)), torch=CPU_TORCH)
    assert not examine(machine).is_well
    assert finding(machine, "torch").status == "problem"


def test_a_card_that_the_driver_does_not_know_is_missed() -> None:
    machine = with_driver(SOUND, replace(DRIVER, pci_cards=2))
    assert finding(machine, "driver").status == "warning"
    assert "2 NVIDIA cards are on the PCI bus" in finding(machine, "driver").means
    assert examine(machine).can_run_on_gpu


def test_a_container_sees_the_hosts_bus_but_is_given_only_some_cards() -> None:
    assert finding(in_container(with_driver(SOUND, replace(DRIVER, pci_cards=8))), "driver").status == "ok"


def test_a_driver_too_old_for_torch_is_updated_or_torch_replaced() -> None:
    turing = replace(SOUND.cards[0], name="Tesla T4", capability=(7, 5))
    old = replace(DRIVER, version="550.54", cuda=(12, 4))
    machine = replace(with_driver(SOUND, old), cards=(turing,), torch=replace(NEW_TORCH, available=False, cards=()))
    cuda = finding(machine, "cuda")
    assert cuda.status == "problem"
    assert cuda.found == "torch was built for CUDA 13.0; the driver 550.54 runs CUDA up to 12.4"
    assert "Update the driver to 580.65.06 or newer. Or: Take a torch for CUDA 12.8" in cuda.fix
    assert '-m pip install --force-reinstall "torch==2.10.0"' in cuda.fix


def test_a_pascal_card_behind_an_old_driver_needs_only_the_older_torch() -> None:
    old = replace(DRIVER, version="550.54", cuda=(12, 4))
    machine = replace(with_driver(SOUND, old), torch=replace(NEW_TORCH, available=False, cards=()))
    assert finding(machine, "cuda").fix.startswith("Take a torch for CUDA 12.6: ")
    assert "torch==2.7.1" in finding(machine, "cuda").fix


def test_a_newer_minor_version_of_cuda_runs_on_the_driver() -> None:
    assert finding(with_driver(SOUND, replace(DRIVER, cuda=(12, 2))), "cuda").status == "ok"


def test_a_container_with_cards_to_watch_but_not_to_compute_on_is_told_apart() -> None:
    machine = with_driver(SOUND, replace(DRIVER, cuda=None))
    assert "libcuda.so.1 can't be loaded" in finding(machine, "cuda").found
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in finding(in_container(machine), "cuda").fix
    assert not examine(machine).can_run_on_gpu


def test_what_torch_says_of_cuda_is_passed_on() -> None:
    silent = replace(PASCAL_TORCH, available=False, cards=(), trouble="CUDA unknown error")
    assert finding(replace(SOUND, torch=silent), "cuda").found == "torch finds no usable card: CUDA unknown error"


def test_missing_device_files_are_made_and_forbidden_ones_opened() -> None:
    broken = DriverFacts("failed", "Unknown Error", kernel_version="580.1", nodes=("/dev/nvidiactl",))
    assert finding(bare(broken), "device_nodes").found == "missing: /dev/nvidia-uvm, /dev/nvidia0"
    assert "`sudo nvidia-modprobe -c 0 -u`" in finding(bare(broken), "device_nodes").fix
    denied = replace(DRIVER, state="no_permission", forbidden_nodes=("/dev/nvidiactl",))
    assert finding(bare(denied), "device_nodes").status == "problem"
    assert "usermod" in finding(bare(denied), "device_nodes").fix


def test_device_files_that_a_working_driver_does_without_are_no_problem() -> None:
    machine = with_driver(SOUND, replace(DRIVER, nodes=("/dev/nvidiactl", "/dev/nvidia3")))
    assert finding(machine, "device_nodes").status == "warning"
    assert examine(machine).can_run_on_gpu
