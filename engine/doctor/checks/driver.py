"""The NVIDIA driver: whether it is there, whole, loaded and permitted, and has the device files that programs reach cards
through. Each way to fail has words and a remedy of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, assert_never

from engine.doctor.checks.remedies import KERNEL_LOG, NO_NOUVEAU, WITH_GPUS, join_video
from engine.doctor.finding import Finding, Status
from engine.doctor.machine import DoctorFacts, DriverFacts
from engine.doctor.tables import LAST_PASCAL_DRIVER, install_driver

NO_CARD_ON_BUS: Final = "No NVIDIA card is on the PCI bus."
LOOK_AT_THE_CARD: Final = "If one should be there, look at its slot and its power; else nothing needs the driver"


def check_driver(machine: DoctorFacts) -> Iterator[Finding]:
    match machine.driver.state:
        case "ok":
            yield _working(machine)
        case "library_missing":
            yield _library_missing(machine)
        case "driver_not_loaded":
            yield _not_loaded(machine)
        case "version_mismatch":
            yield _mismatched(machine)
        case "no_permission":
            yield _forbidden(machine)
        case "no_devices":
            yield _no_devices(machine)
        case "failed":
            means = "No card can be watched, so no model is placed on one."
            fix = f"Look whether `nvidia-smi` works. {KERNEL_LOG}"
            yield Finding("driver", "problem", machine.driver.words, means, fix)
        case _:
            assert_never(machine.driver.state)


def _working(machine: DoctorFacts) -> Finding:
    driver = machine.driver
    found = f"NVIDIA driver {driver.version or 'of unknown version'}; cards that answer: {driver.cards}"
    if driver.silent_cards:
        means = f"Others do not answer: {'; '.join(driver.silent_cards)}."
        return Finding("driver", "warning", found, means, KERNEL_LOG)
    if driver.cards < driver.pci_cards and not machine.host.container:
        means = f"{driver.pci_cards} NVIDIA cards are on the PCI bus; the driver does not know the others."
        return Finding("driver", "warning", found, means, KERNEL_LOG)
    return Finding("driver", "ok", found)


def _library_missing(machine: DoctorFacts) -> Finding:
    found = "no NVIDIA driver is present: its library libnvidia-ml.so.1 is not on this system"
    if machine.driver.expects_no_card:
        means = "No NVIDIA card is on the PCI bus either: there is nothing to mend. Models run on the CPU and on virtual GPUs."
        return Finding("driver", "not applicable", found, means)
    means = (
        f"NVIDIA cards on the PCI bus: {machine.driver.pci_cards}. Without a driver nothing can be computed on them."
    )
    fix = WITH_GPUS if machine.host.container else install_driver(machine.host.system)
    return Finding("driver", "problem", found, means, fix)


def _not_loaded(machine: DoctorFacts) -> Finding:
    found = "the driver is installed, but its kernel module is not loaded"
    if machine.host.container:
        return Finding("driver", "problem", found, "It has to be loaded on the container's host.", WITH_GPUS)
    if machine.driver.nouveau:
        return Finding(
            "driver", "problem", found, "The free driver nouveau, without CUDA, holds the cards.", NO_NOUVEAU
        )
    if machine.driver.pci_cards == 0:
        return Finding("driver", "problem", found, NO_CARD_ON_BUS, LOOK_AT_THE_CARD)
    means = "After a kernel update the module may not have been built for the new kernel."
    fix = f"Load it: `sudo modprobe nvidia`. When that fails, install the driver again: {install_driver(machine.host.system)}"
    return Finding("driver", "problem", found, means, fix)


def _mismatched(machine: DoctorFacts) -> Finding:
    kernel = machine.driver.kernel_version
    loaded = f" (the module is {kernel})" if kernel else ""
    found = f"the driver's libraries and its loaded kernel module are of different versions{loaded}"
    if machine.host.container:
        means = "The host's driver was updated after this container was started."
        return Finding("driver", "problem", found, means, "Start the container again; if that is not enough, its host")
    means = "The driver was updated, and the old module is still in the kernel."
    return Finding("driver", "problem", found, means, "Restart the machine: `sudo reboot`")


def _forbidden(machine: DoctorFacts) -> Finding:
    means = "The driver works, but not for this user."
    fix = WITH_GPUS if machine.host.container else join_video(machine.host)
    return Finding("driver", "problem", "the driver denies this user access to the cards", means, fix)


def _no_devices(machine: DoctorFacts) -> Finding:
    driver = machine.driver
    found = f"the driver {driver.version or driver.kernel_version or ''} runs".replace("  ", " ") + ", but sees no card"
    if driver.pci_cards == 0:
        return Finding("driver", "problem", found, NO_CARD_ON_BUS, LOOK_AT_THE_CARD)
    means = f"NVIDIA cards on the PCI bus: {driver.pci_cards}."
    if _branch(driver) > LAST_PASCAL_DRIVER:
        means += f" Branch {LAST_PASCAL_DRIVER} was the last for Maxwell, Pascal and Volta, such as the GT 1030."
        fix = f"For such a card go back to it. {install_driver(machine.host.system)}"
        return Finding("driver", "problem", found, means, fix)
    return Finding("driver", "problem", found, means, WITH_GPUS if machine.host.container else KERNEL_LOG)


def _branch(driver: DriverFacts) -> int:
    head = (driver.version or driver.kernel_version or "").split(".")[0]
    return int(head) if head.isdigit() else 0


def check_device_nodes(machine: DoctorFacts) -> Iterator[Finding]:
    driver = machine.driver
    if driver.kernel_version is None:
        yield Finding("device_nodes", "not applicable", "no NVIDIA kernel module is loaded here")
        return
    # CUDA makes or does without some of them: that the driver answers is the better proof
    status: Status = "warning" if driver.state == "ok" else "problem"
    missing = [node for node in ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0") if not _present(node, driver)]
    if missing:
        means = "The kernel module is loaded, but programs reach the cards through these files."
        fix = WITH_GPUS if machine.host.container else "Make them: `sudo nvidia-modprobe -c 0 -u`"
        yield Finding("device_nodes", status, f"missing: {', '.join(missing)}", means, fix)
    elif driver.forbidden_nodes:
        found = f"not open to this user: {', '.join(driver.forbidden_nodes)}"
        yield Finding(
            "device_nodes", "problem", found, "The cards can't be used by this user.", join_video(machine.host)
        )
    else:
        yield Finding("device_nodes", "ok", f"{len(driver.nodes)} device files, all of them open to this user")


def _present(node: str, driver: DriverFacts) -> bool:
    """A container may have been given another card than the first."""
    if node == "/dev/nvidia0":
        return any(name.removeprefix("/dev/nvidia").isdigit() for name in driver.nodes)
    return node in driver.nodes
