"""Python and torch: recent enough, there, whole, and built for CUDA. Install lines fit this machine: its cards and its driver."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final, assert_never

from engine.doctor.finding import Finding
from engine.doctor.machine import Capability, DoctorFacts, Host, TorchBroken, TorchFacts, TorchMissing
from engine.doctor.tables import BUILDS, TorchBuild, build_for

PASCAL_BUILD: Final = BUILDS[-1]


def fitting_build(machine: DoctorFacts) -> TorchBuild | None:
    """The newest torch on PyPI for all visible cards and the driver; None when no single build serves them."""
    newest_cuda = machine.driver.cuda[0] if machine.driver.cuda else None
    return build_for(visible_capabilities(machine), newest_cuda)


def visible_capabilities(machine: DoctorFacts) -> list[Capability]:
    return [card.capability for card in machine.cards if card.capability is not None]


def install_torch(host: Host, build: TorchBuild) -> str:
    """The exact line that puts `build` into this Python, and the words around it."""
    if host.python[:2] > build.newest_python:
        wanted = ".".join(map(str, build.newest_python))
        switch = " PASCAL=1" if build is PASCAL_BUILD else ""
        return f"{build.requirement} has no wheel for this Python; use {wanted}: `make clean run{switch} PYTHON=python{wanted}`"
    command = f'{shlex.quote(host.executable)} -m pip install --force-reinstall "{build.requirement}"'
    shortcut = ", or `make run PASCAL=1` in the checkout" if build is PASCAL_BUILD else ""
    return f"`{command}`{shortcut}"


OLDEST_PYTHON: Final = (3, 11)
OLDEST_TORCH: Final = (2, 7)


def check_python(machine: DoctorFacts) -> Iterator[Finding]:
    found = f"Python {'.'.join(map(str, machine.host.python))} at {machine.host.executable}"
    if machine.host.python[:2] >= OLDEST_PYTHON:
        yield Finding("python", "ok", found)
    else:
        means = "Citadel needs Python 3.11 or newer."
        yield Finding("python", "problem", found, means, "Name a newer one: `make clean run PYTHON=python3.12`")


def check_torch(machine: DoctorFacts) -> Iterator[Finding]:
    install = install_torch(machine.host, fitting_build(machine) or BUILDS[0])
    match machine.torch:
        case TorchMissing():
            yield Finding("torch", "problem", "torch is not installed", "No model can run without it.", install)
        case TorchBroken(reason):
            means = "Its installation is damaged, or it is not made for this system."
            yield Finding("torch", "problem", f"torch can't be asked: {reason}", means, install)
        case TorchFacts(version=version) if _release(version) < OLDEST_TORCH:
            yield Finding("torch", "problem", f"torch {version}", "Citadel needs torch 2.7 or newer.", install)
        case TorchFacts(cuda=None, version=version) if machine.driver.expects_no_card:
            yield Finding("torch", "ok", f"torch {version}, a build without CUDA, for which there is no card here")
        case TorchFacts(cuda=None, version=version):
            means = "It runs models on the CPU only, whatever cards there are."
            yield Finding("torch", "problem", f"torch {version}, a build without CUDA", means, install)
        case TorchFacts(version=version, cuda=cuda):
            yield Finding("torch", "ok", f"torch {version}, built for CUDA {cuda}")
        case _:
            assert_never(machine.torch)


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
