"""Numbers as a person reads them: times, ages, sizes and shares, in few and steady characters."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from engine.core.sizes import mib, room_mib
from engine.core.state import Resident, State, leaves_at_s
from engine.core.tasks import TextTokens

_IDLE_STEP_S: Final = 5
"""Idle times under a minute move in steps, so that a quiet table is not repainted each second."""

_SHORTEST_S: Final = 0.005
"""Less than this reads 0.00 when it is rounded, which nothing takes."""


def clock_text(at_s: float) -> str:
    """Local time of day."""
    return datetime.fromtimestamp(at_s).strftime("%H:%M:%S")


def moment_text(at_s: float, now_s: float) -> str:
    """Local time: of day within the last day, before that with the date."""
    day = "" if now_s - at_s < 86_400 else datetime.fromtimestamp(at_s).strftime("%Y-%m-%d ")
    return day + clock_text(at_s)


def seconds_text(seconds: float) -> str:
    """A duration that is measured or predicted: "<0.01 s", "0.21 s", "14.0 s", "132 s"."""
    if seconds < _SHORTEST_S:
        return "<0.01 s"
    if seconds < 10:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"


def milliseconds_text(seconds: float) -> str:
    """A part of something short: "1.3 ms", "210.0 ms"."""
    return f"{1000 * seconds:.1f} ms"


def range_text(low_s: float, high_s: float) -> str:
    """A prediction's usual and bad case: "0.21 to 0.40 s", or one figure where both read the same."""
    low, high = seconds_text(low_s), seconds_text(high_s)
    return high if low == high else f"{low.removesuffix(' s')} to {high}"


def phase_text(seconds: float) -> str:
    """A phase's time in as few characters as tell it: ".02", "1.18", "0"."""
    if seconds < _SHORTEST_S:
        return "0"
    short = f"{seconds:.2f}" if seconds < 10 else f"{seconds:.0f}"
    return short.removeprefix("0")


def age_text(seconds: float) -> str:
    """How long something has lasted: "12s", "4m", "3h12m", "5d2h"."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600}h"


def ago_text(seconds: float) -> str:
    """How long since something happened, in words: "12 s ago", "4 min ago", "3 h ago", "5 d ago"."""
    whole = max(int(seconds), 0)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} ago"
    return f"{whole} s ago"


def idle_text(seconds: float) -> str:
    """Like an age, in steps and in at most four characters."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole - whole % _IDLE_STEP_S}s"
    if whole < 6000:
        return f"{whole // 60}m"
    return f"{whole // 3600}h" if whole < 360_000 else f"{whole // 86_400}d"


def leaves_in_text(state: State, residents: Iterable[Resident], now_s: float) -> str:
    """In how long the first of them leaves its device for being idle; empty where none does."""
    due = [at_s for resident in residents if (at_s := leaves_at_s(state, resident)) is not None]
    return idle_text(min(due) - now_s) if due else ""


def count_text(number: int, one: str, several: str) -> str:
    """How many there are of something: "1 switch", "3 switches"."""
    return f"{number} {one if number == 1 else several}"


def kept_text(tokens: TextTokens) -> str:
    """What was read of a text: "256 of 300 tokens"."""
    more = "" if tokens.read_whole else "more than "
    return f"{tokens.kept} of {more}{count_text(tokens.seen, 'token', 'tokens')}"


def running_text(leases: int) -> str:
    """What a model that is to leave waits for: "2 running requests"."""
    return count_text(leases, "running request", "running requests")


def percent_text(part: float, whole: float) -> str:
    """`part` of `whole`, or nothing when there is no whole."""
    return f"{100 * part / whole:.0f}%" if whole > 0 else ""


def share_text(share: float) -> str:
    """A share of 1, to a tenth of a percent: "93.8 %"."""
    return f"{100 * share:.1f} %"


def mib_text(size_bytes: int | None) -> str:
    """Whole MiB of what is taken, or a dash where it is not known."""
    return "-" if size_bytes is None else str(mib(size_bytes))


def room_text(room_bytes: int) -> str:
    """Whole MiB of a total or a budget."""
    return str(room_mib(room_bytes))


def percent(share: float | None) -> str:
    """A share that is in percent already, or a dash where it is not known."""
    return "-" if share is None else f"{share:.0f}%"
