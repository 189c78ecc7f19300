"""NVIDIA's management library as a whole: whether it can be asked anything, and what to do when it can't."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

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
