"""A play of demand against the live engine, in words: while it runs, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator

from citadel_tui.cli.output import table
from citadel_tui.text import clean
from citadel_tui.words.figures import count_text, seconds_text
from citadel_tui.words.labels import Label
from engine.bench.statistics import Spread
from engine.drive.outcome import Outcome
from engine.drive.play import Tally
from engine.drive.watching import Watch


def tally_text(tally: Tally, calls: int, watch: Watch) -> str:
    filled = watch.pressed.mean
    return (
        f"{tally.ended} of {calls} answered, {tally.sent - tally.ended} under way, {tally.failed} failed, "
        + count_text(len(watch.switches), "switch", "switches")
        + ("" if filled is None else f", {_share(filled)} filled")
    )


def outcome_text(played: Outcome, label: Label) -> str:
    """Who played whom, then a line for each figure."""
    return "\n".join([_cast(played, label), "", table(["", ""], list(_rows(played))).lstrip("\n"), *_failures(played)])


def _cast(played: Outcome, label: Label) -> str:
    parts = ", ".join(f"{clean(part)} → {label(player)}" for part, player in played.cast.parts.items())
    left_out = played.cast.left_out
    absent = f"\nleft out, since nobody plays them: {', '.join(left_out)}" if left_out else ""
    return f"{clean(played.demand)}, {played.speed:g} times as fast\n{parts}{absent}"


def _rows(played: Outcome) -> Iterator[tuple[str, str]]:
    cut = ", stopped before its end" if played.stopped else ""
    yield "requests", f"{played.requests} in {seconds_text(played.seconds)}{cut}; {played.failed} failed"
    served = ", ".join(f"{device} {count}" for device, count in sorted(played.served.items()))
    yield "served by", served or "nobody"
    answered = sum(played.served.values())
    yield "hits", f"{played.hits} ({_share(played.hits / answered)})" if answered else "-"
    if played.delays is not None:
        delays = played.delays
        mean, p50, p99 = (seconds_text(seconds) for seconds in (delays.mean_s, delays.p50_s, delays.p99_s))
        yield "delay", f"mean {mean}, p50 {p50}, p99 {p99}"
    yield "switches", _spread(played.switches)
    yield "without waits", _spread(played.moving)
    yield (
        "besides",
        (
            f"{played.prepared} loads that prepared a model first, {played.victims} victims, {played.broken_switches} failed"
        ),
    )
    yield "budget filled", _filled(played)


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "none"
    p50, p95, longest = (seconds_text(seconds) for seconds in (spread.p50, spread.p95, spread.largest))
    return f"{spread.count}, p50 {p50}, p95 {p95}, longest {longest}"


def _filled(played: Outcome) -> str:
    if played.utilization_all is None or played.utilization_peak is None:
        return "-"
    all_along = f"{_share(played.utilization_all)} over all, {_share(played.utilization_peak)} at most"
    if played.utilization is None:
        return f"{all_along}; no model had to make room for another"
    return f"{_share(played.utilization)} from the first eviction for room on; {all_along}"


def _failures(played: Outcome) -> list[str]:
    return [f"{count} × {clean(reason)}" for reason, count in played.failures.items()]


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"
