"""Why the driver did not answer, in its own kinds, and what that means for a card and for the library."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias, assert_never

from engine.core.devices import Health
from engine.devices.cards import GpuFacts
from engine.devices.library import Library, failed_library, library_in

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


class Verdict(NamedTuple):
    health: Health
    reason: str


def title(facts: GpuFacts) -> str:
    """What a sentence calls the card."""
    return f"{facts.name} ({'a part of ' if facts.is_mig else ''}GPU {facts.index})"


def of_card(facts: GpuFacts, trouble: NvmlTrouble) -> Verdict:
    """What it means for the card that its memory could not be read."""
    card = title(facts)
    match trouble.kind:
        case "lost":
            return Verdict(
                "lost",
                f"{card} is lost: it no longer answers the driver. It is tried again by itself; "
                "if it stays away, `sudo dmesg | grep -i xid` shows why, and a reboot brings most cards back",
            )
        case "gone":
            return Verdict(
                "lost",
                f"{card} is lost: the driver no longer finds it. It is used again as soon as the driver does; "
                "if it stays away, `sudo dmesg | grep -i xid` shows why, and a reboot brings most cards back",
            )
        case "reset_required":
            return Verdict("failed", f"{card} must be reset: sudo nvidia-smi --gpu-reset -i {facts.index}, or a reboot")
        case "not_supported":
            return Verdict(
                "unsupported", f"the driver does not tell how much memory {card} uses; no model is placed there unseen"
            )
        case "no_permission":
            return Verdict("failed", f"this user may not read the memory of {card}; `ls -l /dev/nvidia*` shows who may")
        case "library_missing" | "driver_not_loaded" | "version_mismatch" | "uninitialized" | "other":
            return Verdict("failed", f"the driver could not read the memory of {card}: {trouble}. It is tried again")
        case _:
            assert_never(trouble.kind)


def of_library(trouble: NvmlTrouble) -> Library:
    """What it means for the library that it could not be opened."""
    match trouble.kind:
        case "library_missing" | "driver_not_loaded" | "version_mismatch" | "no_permission":
            return library_in(trouble.kind)
        case "uninitialized" | "lost" | "gone" | "reset_required" | "not_supported" | "other":
            return failed_library(f"the NVIDIA library could not be used: {trouble}")
        case _:
            assert_never(trouble.kind)
