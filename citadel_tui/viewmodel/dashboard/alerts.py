"""What went wrong and must be seen: devices in trouble, leaks, loads that fail, thrash, and the engine's own notices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.prose import sentences
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Role, Span
from citadel_tui.viewmodel.trouble import health_role
from citadel_tui.words.figures import clock_text, count_text
from engine.core.devices import condition
from engine.core.names import ModelName
from engine.core.records import Notice, Switch
from engine.core.sizes import format_size

RECENT_S: Final = 3600.0
"""A console that opens tells of notices that are not older than this."""
THRASH_S: Final = 300.0
THRASH_TIMES: Final = 3
"""Thrash: a model that was a victim this often within THRASH_S, and came back each time."""


class Alert(Struct, frozen=True):
    """Something that the operator has to know."""

    id: str
    """Of this occurrence: when it ends and comes again, it is to be seen again."""
    text: str
    role: Role
    at_s: float | None = None
    """When it happened; None for what lasts."""


def alerts(scene: Scene, since_s: float) -> tuple[Alert, ...]:
    """All there are now, what lasts first; of the engine's notices those since `since_s`."""
    if scene.snapshot is None:
        return ()
    return (*_devices(scene), *_failing(scene), *_thrash(scene), *_notices(scene, since_s))


def unseen(found: Sequence[Alert], seen: frozenset[str]) -> tuple[Alert, ...]:
    return tuple(alert for alert in found if alert.id not in seen)


def alert_line(waiting: Sequence[Alert], key: str, paper: Paper) -> tuple[Line, ...]:
    """How many wait to be seen, and the first of them; no line when none does."""
    if not waiting:
        return ()
    count = f" {key} {count_text(len(waiting), 'alert', 'alerts')} "
    line = (Span(count, "key"), Span(f" {paper.text(waiting[0].text)}", waiting[0].role))
    return (paper.filled(line),)


def alert_lines(found: Sequence[Alert], paper: Paper) -> tuple[Line, ...]:
    """All of them, in full."""
    if not found:
        return sentences(("nothing is wrong",), paper, "good")
    texts = ((f"{clock_text(a.at_s)}  {a.text}" if a.at_s else a.text, a.role) for a in found)
    return tuple(line for text, role in texts for line in sentences((text,), paper, role))


def _devices(scene: Scene) -> Iterator[Alert]:
    devices = scene.snapshot.state.devices if scene.snapshot else {}
    for name, known in devices.items():
        reading = known.reading
        if reading.health not in ("ok", "starting"):
            why = f": {reading.reason}" if reading.reason else ""
            yield Alert(f"{name} {reading.health}", f"{name} {condition(reading.health)}{why}", health_role(reading))
        if known.leaked_bytes:
            size = format_size(known.leaked_bytes)
            yield Alert(
                f"{name} leak {known.leaked_bytes}", f"{name}: {size} did not come back when a model left", "bad"
            )


def _failing(scene: Scene) -> Iterator[Alert]:
    """Models whose last load failed."""
    last: dict[ModelName, Switch] = {}
    failures: Counter[ModelName] = Counter()
    for switch in scene.switches():
        for load in switch.plan.loads:
            last[load.model] = switch
            failures[load.model] = failures[load.model] + 1 if switch.outcome == "failed" else 0
    for model, count in failures.items():
        if count:
            times = f"failed {count} times, at last" if count > 1 else "failed"
            text = f"loading {model} {times}: {last[model].reason}"
            yield Alert(f"{model} failing {last[model].id}", text, "bad", last[model].at_s)


def _thrash(scene: Scene) -> Iterator[Alert]:
    left: Counter[ModelName] = Counter()
    back: Counter[ModelName] = Counter()
    causes: dict[ModelName, Counter[ModelName]] = {}
    for switch in scene.switches():
        if switch.outcome != "done" or scene.now_s - switch.at_s > THRASH_S:
            continue
        for load in switch.plan.loads:
            back[load.model] += left[load.model] > back[load.model]
            for victim in switch.plan.victims:
                left[victim.model] += 1
                causes.setdefault(victim.model, Counter())[load.model] += 1
    for model, count in back.items():
        if count >= THRASH_TIMES:
            cause = causes[model].most_common(1)[0][0]
            text = f"thrash: {model} was taken off and came back {count} times in {THRASH_S / 60:.0f} min, mostly for {cause}"
            yield Alert(f"{model} thrash", text, "warn")


def _notices(scene: Scene, since_s: float) -> Iterator[Alert]:
    """The engine's warnings and errors, newest first, but for those that a device's state says better."""
    devices = scene.snapshot.state.devices if scene.snapshot else {}
    said = {name for name, known in devices.items() if known.reading.health != "ok"}
    for record in reversed(scene.records):
        entry = record.entry
        if isinstance(entry, Notice) and entry.level != "info" and entry.at_s >= since_s and entry.device not in said:
            role: Role = "bad" if entry.level == "error" else "warn"
            yield Alert(f"notice {record.seq}", entry.text, role, entry.at_s)
