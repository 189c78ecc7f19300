"""CUDA: the version that the driver runs against the one that torch was built for, and whether the two found each other."""

from __future__ import annotations

from collections.abc import Iterator

from engine.doctor.checks.installing import fitting_build, install_torch, visible_capabilities
from engine.doctor.checks.remedies import KERNEL_LOG
from engine.doctor.tables import driver_for, install_driver
from engine.doctor.finding import Finding
from engine.doctor.machine import Machine, TorchFacts
from engine.doctor.torch_builds import BUILDS, build_for


def check_cuda(machine: Machine) -> Iterator[Finding]:
    torch, driver = machine.torch, machine.driver
    if driver.state != "ok":
        yield Finding("cuda", "not applicable", "without a working driver there is no CUDA to compare")
    elif not machine.cards:
        yield Finding("cuda", "not applicable", "no card is visible to compute on")
    elif driver.cuda is None:
        found = "the driver answers, but its CUDA library libcuda.so.1 can't be loaded"
        fix = f"Install the whole driver. {install_driver(machine.host.system)}"
        if machine.host.container:
            fix = "Start the container again with `-e NVIDIA_DRIVER_CAPABILITIES=compute,utility`"
        yield Finding("cuda", "problem", found, "Cards can be watched, but nothing can be computed on them.", fix)
    elif not isinstance(torch, TorchFacts) or torch.cuda is None:
        yield Finding("cuda", "not applicable", f"the driver runs CUDA up to {_dotted(driver.cuda)}; torch has none")
    elif int(torch.cuda.split(".")[0]) > driver.cuda[0]:
        yield _driver_too_old(machine, torch.cuda, driver.cuda)
    elif not torch.available:
        said = torch.trouble or "it does not say why"
        fix = f"Look whether `nvidia-smi` works. {KERNEL_LOG}"
        yield Finding("cuda", "problem", f"torch finds no usable card: {said}", "No model can run on a GPU.", fix)
    else:
        yield Finding("cuda", "ok", f"the driver runs CUDA up to {_dotted(driver.cuda)}, torch brings {torch.cuda}")


def _driver_too_old(machine: Machine, built: str, runs: tuple[int, int]) -> Finding:
    found = f"torch was built for CUDA {built}; the driver {machine.driver.version} runs CUDA up to {_dotted(runs)}"
    means = "Torch can't start CUDA with this driver."
    update = f"Update the driver to {driver_for(int(built.split('.')[0]))} or newer"
    build = fitting_build(machine)
    if build is None:
        return Finding("cuda", "problem", found, means, update)
    older_torch = f"Take a torch for CUDA {build.cuda}: {install_torch(machine.host, build)}"
    if build is build_for(visible_capabilities(machine)) is not BUILDS[0]:
        # the cards need the older torch anyway, and a newer driver may not know them
        return Finding("cuda", "problem", found, means, older_torch)
    return Finding("cuda", "problem", found, means, f"{update}. Or: {older_torch}")


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
