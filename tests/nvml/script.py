"""Writes what the stand-in for NVIDIA's management library answers. Each change counts from the client's next call on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from engine.core.sizes import GIB, MIB


class Fault(IntEnum):
    """NVML's own error codes."""

    UNINITIALIZED = 1
    NOT_SUPPORTED = 3
    NO_PERMISSION = 4
    DRIVER_NOT_LOADED = 9
    FUNCTION_NOT_FOUND = 13
    GPU_IS_LOST = 15
    RESET_REQUIRED = 16
    VERSION_MISMATCH = 18
    UNKNOWN = 999


class Process(NamedTuple):
    pid: int
    used_bytes: int | None
    """None: the driver can't tell, as in a container."""


_GT_1030: Final[dict[str, str | int]] = {
    "name": "NVIDIA GeForce GT 1030",
    "total": 2 * GIB,
    "reserved": 64 * MIB,
    "used": 0,
    "capability": 61,
    "compute_processes": "",
    "graphics_processes": "",
    "temperature_c": 41,
    "power_mw": 9_500,
    "power_limit_mw": 30_000,
    "utilization_percent": 7,
    "memory_utilization_percent": 3,
    "clock_graphics_mhz": 1_227,
    "clock_sm_mhz": 1_227,
    "clock_memory_mhz": 3_004,
    "pcie_generation": 1,
    "pcie_max_generation": 3,
    "pcie_width": 4,
    "pcie_max_width": 4,
}


class ScriptedCard:
    """A card, or one of its MIG devices, in the script."""

    def __init__(self, uuid: str, write: Callable[[], None], figures: dict[str, str | int]) -> None:
        self.uuid: Final = uuid
        self._write = write
        self._figures: dict[str, str | int] = {"uuid": uuid, **figures}
        self._parts: list[ScriptedCard] = []

    def says(self, **figures: str | int) -> ScriptedCard:
        """Change figures, under the names that the script has for them."""
        self._figures.update(figures)
        self._write()
        return self

    def lacks(self, *figures: str) -> ScriptedCard:
        """It has no such sensor: NOT_SUPPORTED."""
        for figure in figures:
            self._figures.pop(figure, None)
        self._write()
        return self

    def uses(self, used_bytes: int) -> ScriptedCard:
        return self.says(used=used_bytes)

    def runs(self, *processes: Process) -> ScriptedCard:
        """What computes on it. Its memory is scripted apart from this: the driver reads the two at different moments."""
        return self.says(compute_processes=" ".join(f"{p.pid}:{_bytes(p.used_bytes)}" for p in processes))

    def draws(self, *processes: Process) -> ScriptedCard:
        """What renders on it."""
        return self.says(graphics_processes=" ".join(f"{p.pid}:{_bytes(p.used_bytes)}" for p in processes))

    def fails(self, fault: Fault, call: str = "") -> ScriptedCard:
        """Answer `fault` to `call`, or to every call."""
        return self.says(**{f"fault.{call}" if call else "fault": int(fault)})

    def works_again(self) -> ScriptedCard:
        return self.lacks(*(figure for figure in self._figures if figure.startswith("fault")))

    def is_split_into(self, *uuids: str) -> ScriptedCard:
        """Put it into MIG mode, with a device of equal size for each of `uuids`."""
        share = int(self._figures["total"]) // max(1, len(uuids))
        figures = {**self._figures, "name": f"{self._figures['name']} MIG 1g", "total": share, "used": 0}
        self._parts = [ScriptedCard(uuid, self._write, {**figures, "uuid": uuid}) for uuid in uuids]
        return self.says(mig_mode=1)

    def lines(self, prefix: str) -> list[str]:
        """Its part of the script."""
        own = [f"{prefix}.{key} {value}" for key, value in self._figures.items()]
        return own + [line for number, part in enumerate(self._parts) for line in part.lines(f"{prefix}.mig{number}")]


class NvmlScript:
    """A machine with a driver and, at first, no card."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._calls: Final = path.with_name(f"{path.name}.calls")
        self._driver: dict[str, str | int] = {
            "driver_version": "580.65.06",
            "nvml_version": "13.580.65.06",
            "cuda_driver_version": 13_000,
            "epoch": 0,
        }
        self._cards: list[ScriptedCard] = []
        self._write()

    def card(self, **figures: str | int) -> ScriptedCard:
        """Add a GT 1030, changed by `figures`, behind the cards that are there."""
        number = len(self._cards)
        uuid = str(figures.pop("uuid", f"GPU-{number}c1de1de-0000-4000-8000-{number:012}"))
        card = ScriptedCard(uuid, self._write, {**_GT_1030, "pci_bus": number + 1, **figures})
        return self.plug_in(card)

    def plug_in(self, card: ScriptedCard) -> ScriptedCard:
        self._cards.append(card)
        self._write()
        return card

    def pull_out(self, card: ScriptedCard) -> None:
        self._cards.remove(card)
        self._write()

    def fails(self, fault: Fault, call: str = "") -> None:
        """Answer `fault` to `call` whatever the card, or to every call."""
        self._say(**{f"fault.{call}" if call else "fault": int(fault)})

    def works_again(self) -> None:
        self._driver = {key: value for key, value in self._driver.items() if not key.startswith("fault")}
        self._write()

    def forgets(self) -> None:
        """Be uninitialised until the client initialises the library anew."""
        self._say(epoch=int(self._driver["epoch"]) + 1)

    def takes(self, latency_ms: int) -> None:
        """Be so slow at every call."""
        self._say(latency_ms=latency_ms)

    def sticks(self, call: str) -> None:
        """Do not return from `call` until `comes_unstuck`."""
        self._say(**{f"stuck.{call}": 1})

    def comes_unstuck(self) -> None:
        self._driver = {key: value for key, value in self._driver.items() if not key.startswith("stuck")}
        self._write()

    def calls(self) -> Counter[str]:
        """How often each call was made so far; under `stuck`, how many got stuck."""
        text = self._calls.read_text() if self._calls.exists() else ""
        return Counter(line.split()[0] for line in text.splitlines())

    def _say(self, **figures: str | int) -> None:
        self._driver.update(figures)
        self._write()

    def _write(self) -> None:
        lines = [f"{key} {value}" for key, value in self._driver.items()]
        lines += [line for number, card in enumerate(self._cards) for line in card.lines(f"card{number}")]
        beside = self.path.with_suffix(".new")
        beside.write_text("\n".join([*lines, ""]))
        os.replace(beside, self.path)  # a client reads the old script or the new one, never half of one


def _bytes(used_bytes: int | None) -> str:
    return "?" if used_bytes is None else str(used_bytes)
