"""Install lines that fit this machine: its Python, its cards, its driver."""

from __future__ import annotations

import shlex
from typing import Final

from engine.doctor.machine import Capability, Host, Machine
from engine.doctor.torch_builds import BUILDS, TorchBuild, build_for

PASCAL_BUILD: Final = BUILDS[-1]


def fitting_build(machine: Machine) -> TorchBuild | None:
    """The newest torch on PyPI for all visible cards and the driver; None when no single build serves them."""
    newest_cuda = machine.driver.cuda[0] if machine.driver.cuda else None
    return build_for(visible_capabilities(machine), newest_cuda)


def visible_capabilities(machine: Machine) -> list[Capability]:
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
