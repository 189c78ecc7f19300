"""Why the driver did not answer, in its own kinds, and what that means for a card and for the library."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias, assert_never

from msgspec import Struct

from engine.core.devices import DeviceSpec, Health
from engine.devices.cards import GpuFacts

NamedState: TypeAlias = Literal[
    "ok", "library_missing", "driver_not_loaded", "version_mismatch", "no_permission", "no_devices"
]
"""The states that explain themselves; `failed` needs words of its own."""
NvmlState: TypeAlias = NamedState | Literal["failed"]


class Library(Struct, frozen=True):
    """What came of opening the library."""

    state: NvmlState
    words: str
    """What was found, for the operator."""
    advice: str = ""
    """What to do; empty when nothing is to be done."""
    driver_version: str | None = None
    cuda_driver_version: tuple[int, int] | None = None
    """The newest CUDA that the driver can serve."""
    silent_cards: tuple[str, ...] = ()
    """Cards that the driver counts and that did not answer when they were looked for, and why."""

    @property
    def versions(self) -> str:
        """ "580.65.06, CUDA 13.0"; as far as it tells."""
        cuda = self.cuda_driver_version
        return ", ".join(filter(None, (self.driver_version, cuda and f"CUDA {cuda[0]}.{cuda[1]}")))


_WORDS: Final[dict[NamedState, tuple[str, str]]] = {
    "ok": ("the NVIDIA driver answers", ""),
    "library_missing": (
        "no NVIDIA driver is present: its library libnvidia-ml.so.1 was not found",
        "Install the NVIDIA driver; in a container, start it with the NVIDIA Container Toolkit (--gpus all). "
        "Without a driver, models run on the CPU and on virtual GPUs in host RAM.",
    ),
    "driver_not_loaded": (
        "the NVIDIA library is installed, but the kernel has not loaded the driver",
        "Load it with: sudo modprobe nvidia. When that fails, `sudo dmesg | grep -i nvidia` says why: often a kernel "
        "update without its headers, or Secure Boot.",
    ),
    "version_mismatch": (
        "the NVIDIA library and the loaded driver are of different versions",
        "The driver was updated while the old one was running. Reboot, or stop all users of the cards and run: "
        "sudo rmmod nvidia_drm nvidia_modeset nvidia_uvm nvidia && sudo modprobe nvidia. Then restart the engine.",
    ),
    "no_permission": (
        "this user may not talk to the NVIDIA driver",
        "Look at `ls -l /dev/nvidia*`: the user needs to read and write these, on some systems by being in the group "
        "that owns them (often video or render): sudo usermod -aG video $USER, then log in again.",
    ),
    "no_devices": (
        "the NVIDIA driver is loaded and finds no card",
        "Check with `lspci | grep -i nvidia` that the card is seated and seen. In a container, check that it was "
        "given a card (--gpus all).",
    ),
}


def library_in(
    state: NamedState,
    driver_version: str | None = None,
    cuda_driver_version: tuple[int, int] | None = None,
    silent_cards: tuple[str, ...] = (),
) -> Library:
    """The library in a state that explains itself."""
    words, advice = _WORDS[state]
    return Library(state, words, advice, driver_version, cuda_driver_version, silent_cards)


def failed_library(words: str) -> Library:
    """A failure that has no name of its own."""
    advice = "See whether nvidia-smi says more; `sudo dmesg | grep -i nvrm` shows what the driver has logged. It is tried again."
    return Library("failed", words, advice)


TroubleKind: TypeAlias = Literal[
    "library_missing",
    "driver_not_loaded",
    "version_mismatch",
    "uninitialized",
    "lost",
    "gone",
    "reset_required",
    "not_supported",
    "no_permission",
    "other",
]
OF_THE_LIBRARY: Final[frozenset[TroubleKind]] = frozenset(
    {"library_missing", "driver_not_loaded", "version_mismatch", "uninitialized"}
)
"""Kinds that no card can be blamed for: the library has to be opened again."""


class NvmlTrouble(Exception):
    """A call that the driver answered with an error."""

    def __init__(self, kind: TroubleKind, words: str) -> None:
        super().__init__(words)
        self.kind: Final = kind


class DriverStuck(Exception):
    """A call that the driver has not answered in time."""

    def __init__(self, doing: str, waiting_s: float) -> None:
        waiting = f"{waiting_s:.0f} s" if waiting_s >= 1 else "a part of a second"
        super().__init__(f"the NVIDIA driver has not answered for {waiting}, {doing}")


class Diagnosis(NamedTuple):
    health: Health
    reason: str


def title(facts: GpuFacts) -> str:
    """What a sentence calls the card."""
    return f"{facts.name} ({'a part of ' if facts.is_mig else ''}GPU {facts.index})"


def of_card(facts: GpuFacts, trouble: NvmlTrouble) -> Diagnosis:
    """What it means for the card that its memory could not be read."""
    card = title(facts)
    match trouble.kind:
        case "lost":
            return Diagnosis(
                "lost",
                f"{card} is lost: it no longer answers the driver. It is tried again by itself; "
                "if it stays away, `sudo dmesg | grep -i xid` shows why, and a reboot brings most cards back",
            )
        case "gone":
            return Diagnosis(
                "lost",
                f"{card} is lost: the driver no longer finds it. It is used again as soon as the driver does; "
                "if it stays away, `sudo dmesg | grep -i xid` shows why, and a reboot brings most cards back",
            )
        case "reset_required":
            return Diagnosis(
                "failed", f"{card} must be reset: sudo nvidia-smi --gpu-reset -i {facts.index}, or a reboot"
            )
        case "not_supported":
            return Diagnosis(
                "unsupported", f"the driver does not tell how much memory {card} uses; no model is placed there unseen"
            )
        case "no_permission":
            return Diagnosis(
                "failed", f"this user may not read the memory of {card}; `ls -l /dev/nvidia*` shows who may"
            )
        case "library_missing" | "driver_not_loaded" | "version_mismatch" | "uninitialized" | "other":
            return Diagnosis("failed", f"the driver could not read the memory of {card}: {trouble}. It is tried again")
        case _:
            assert_never(trouble.kind)


def not_listed(spec: DeviceSpec, library: Library) -> str:
    """Why a device can't be used whose card the driver has not listed since it was asked for all."""
    card = spec.title + (f" ({spec.bus_id})" if spec.bus_id else "")
    if library.state in ("ok", "no_devices"):
        why = (
            "is lost: the driver does not list it. It is used again as soon as the driver does; if it stays away, "
            "`sudo dmesg | grep -i xid` shows why, and a reboot brings most cards back."
        )
    else:
        why = f"can't be found: {library.words}. {library.advice}"
    number = spec.backing.removeprefix("cuda:")
    return f"{card} {why} If it was taken out for good, `citadel gpus --forget gpu{number}` forgets it"


def of_library(trouble: NvmlTrouble) -> Library:
    """What it means for the library that it could not be opened."""
    match trouble.kind:
        case "library_missing" | "driver_not_loaded" | "version_mismatch" | "no_permission":
            return library_in(trouble.kind)
        case "uninitialized" | "lost" | "gone" | "reset_required" | "not_supported" | "other":
            return failed_library(f"the NVIDIA library could not be used: {trouble}")
        case _:
            assert_never(trouble.kind)
