"""Alerts on the screen: the line that announces those that last and wait to be seen, and the page that has all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.prose import section, sentences
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Role, Span
from citadel_tui.words.alerts import Alert, Severity, alert_text, alerts, lasting_of
from citadel_tui.words.figures import count_text

_ROLES: Final[dict[Severity, Role]] = {"warning": "warn", "error": "bad"}


def alerts_of(scene: Scene, since_s: float) -> tuple[Alert, ...]:
    """All there are, those that last first."""
    over = tuple(alert for alert in (scene.gone,) if alert is not None and (alert.until_s or 0.0) >= since_s)
    if scene.snapshot is None or scene.hello is None:
        return over
    # Until the engine's last sign of life: what it has not told since is its own silence, and no device's.
    later_s = max(scene.snapshot_age_s - scene.silent_s, 0.0)
    return (*alerts(scene.hello, scene.snapshot, scene.records, since_s, later_s), *over)


def unseen(found: Sequence[Alert], seen: frozenset[str]) -> tuple[Alert, ...]:
    """Those that last and that nobody has read."""
    return tuple(alert for alert in lasting_of(found) if alert.id not in seen)


def alert_line(waiting: Sequence[Alert], key: str, paper: Paper) -> tuple[Line, ...]:
    """How many wait to be seen, and the first of them; no line when none does."""
    if not waiting:
        return ()
    count = f" {key} {count_text(len(waiting), 'alert', 'alerts')} "
    line = (Span(count, "key"), Span(f" {paper.text(waiting[0].text)}", _ROLES[waiting[0].severity]))
    return (paper.filled(line),)


def alert_lines(found: Sequence[Alert], paper: Paper) -> tuple[Line, ...]:
    """All of them, in full; those that are over apart."""
    lasting = lasting_of(found)
    present = [line for alert in lasting for line in sentences((alert_text(alert),), paper, _ROLES[alert.severity])]
    over = sentences((alert_text(alert) for alert in found if alert.until_s is not None), paper, "dim")
    return (*(present or sentences(("nothing is wrong",), paper, "good")), *section("Over", over))
