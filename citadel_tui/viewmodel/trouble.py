"""How well a device is, in words: its health, the age of its last good figures, and the reason."""

from __future__ import annotations

from typing import Final

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.spans import Role
from citadel_tui.words.figures import ago_text, moment_text
from engine.core.devices import Health, Reading

_ROLES: Final[dict[Health, Role]] = {"ok": "good", "starting": "warn", "stale": "warn"}


def health_role(reading: Reading) -> Role:
    return _ROLES.get(reading.health, "bad")


def health_text(reading: Reading, now_s: float, age_s: float | None, glyphs: Glyphs) -> str:
    """ "✗ failed, last read 12 s ago", "✗ lost since 14:03:05". `age_s`: of the last figures, None where there never were any."""
    match reading.health:
        case "ok":
            return f"{glyphs.yes} ok" + (f", read {ago_text(age_s)}" if age_s is not None else "")
        case "starting":
            return f"{glyphs.ellipsis} starting"
        case "lost" if reading.at_s:
            return f"{glyphs.no} lost since {moment_text(reading.at_s, now_s)}"
        case "stale" | "lost" | "unsupported" | "failed" | "not answering":
            age = "never read" if age_s is None else f"last read {ago_text(age_s)}"
            return f"{glyphs.no} {reading.health}, {age}"


def has_figures(reading: Reading) -> bool:
    """Whether the device says how much of it is in use, or has said so and is only silent now."""
    return reading.used_bytes is not None
