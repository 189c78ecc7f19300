"""The device files that programs reach the cards through."""

from __future__ import annotations

from collections.abc import Iterator

from engine.doctor.checks.remedies import WITH_GPUS, join_video
from engine.doctor.finding import Finding, Status
from engine.doctor.machine import Driver, Machine


def check_device_nodes(machine: Machine) -> Iterator[Finding]:
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


def _present(node: str, driver: Driver) -> bool:
    """A container may have been given another card than the first."""
    if node == "/dev/nvidia0":
        return any(name.removeprefix("/dev/nvidia").isdigit() for name in driver.nodes)
    return node in driver.nodes
