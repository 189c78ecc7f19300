"""What went wrong, as the console and `status` tell it: what lasts, which counts, and what is over, in the past tense and with
both times. One cause is one alert, whoever suffers from it; what an earlier engine said is over with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from citadel_tui.lives import since_s as told_since_s
from citadel_tui.words.boxes import held_text, standing_words
from citadel_tui.words.figures import age_text, clock_text, count_text
from citadel_tui.words.health import cause_of, shown_reading
from engine.api import Hello, Snapshot
from engine.core.boxes import BoxView
from engine.core.commands import command_text
from engine.core.devices import Reading, condition, worker_of
from engine.core.names import BoxName, DeviceId, ModelName, box_of
from engine.core.plans import EvictStep, LoadStep
from engine.core.records import Notice, Record, Switch
from engine.core.sizes import format_size

RECENT_S: Final = 3600.0
"""What is over is told of for so long, and events of the engine that are not older than this."""

KEPT_RECORDS: Final = 300
"""So many of the engine's newest records are looked at."""

Severity: TypeAlias = Literal["warning", "error"]


class Alert(Struct, frozen=True):
    """Something that the operator has to know."""

    id: str
    """Of this occurrence: when it ends and comes again, it is to be seen again."""
    text: str
    severity: Severity
    at_s: float | None = None
    """When it began or happened, seconds since the epoch; None where nobody noted that."""
    until_s: float | None = None
    """When it was over; None while it lasts."""


def alerts(
    hello: Hello, snapshot: Snapshot, records: Sequence[Record], since_s: float, later_s: float = 0.0
) -> tuple[Alert, ...]:
    """`later_s` after the snapshot: what lasts, or happened to this engine since `since_s`; then what is over, newest first."""
    earlier, later = _lives(hello, snapshot.boxes, records)
    told = _Told(earlier, later, since_s)
    loads = tuple(_failing(later))
    boxes = tuple(_boxes(snapshot, told.lasting))
    devices = tuple(_devices(snapshot, later_s, told.lasting))
    present = (
        *boxes,
        *devices,
        *_leaks(snapshot),
        *(alert for alert in loads if alert.until_s is None),
        *told.lasting.values(),
        *told.happened,
    )
    over = [alert for alert in (*told.over, *loads) if alert.until_s is not None and alert.until_s >= since_s]
    return (*present, *sorted(over, key=lambda alert: -(alert.until_s or 0.0)))


def _lives(
    hello: Hello, boxes: Mapping[BoxName, BoxView], records: Sequence[Record]
) -> tuple[dict[float, list[Record]], Sequence[Record]]:
    """What engines told that have ended since, by when the next one started; and what those told that run."""
    earlier, later, begun = defaultdict[float, list[Record]](list), list[Record](), set[BoxName]()
    for record in records:
        name = _box_told_by(record) if boxes else ""
        started_s = boxes[name].started_at_s if name in boxes else told_since_s(hello)
        # By their order and not by their times alone: a clock that was put back makes no record one of an earlier engine.
        if name in begun or record.entry.at_s >= started_s:
            begun.add(name)
            later.append(record)
        else:
            earlier[started_s].append(record)
    return earlier, later


def _box_told_by(record: Record) -> BoxName:
    """Empty where it does not say."""
    match record.entry:
        case Notice(device=str(device)):
            return box_of(device)
        case Notice(text=text):
            return text.partition(":")[0]
        case Switch(plan=plan):
            return next((box_of(step.device) for step in plan.steps if isinstance(step, LoadStep | EvictStep)), "")
        case _:
            return ""


def lasting_of(found: Iterable[Alert]) -> tuple[Alert, ...]:
    """Those that are not over: only these count."""
    return tuple(alert for alert in found if alert.until_s is None)


def alert_text(alert: Alert) -> str:
    """In full: when it began or happened, when it was over, and what it is or was."""
    times = [clock_text(at_s) for at_s in (alert.at_s, alert.until_s) if at_s is not None]
    return "  ".join((" to ".join(times), alert.text)) if times else alert.text


# ── boxes of a fleet that are not heard ──────────────────────────────────────────────────────────────────────────


def _boxes(snapshot: Snapshot, lasting: dict[str, Alert]) -> Iterator[Alert]:
    """One for each, which stands for all of its devices."""
    for name, box in snapshot.boxes.items():
        if box.standing == "ready":
            continue
        # What was told of it and what is known of it is the same trouble.
        begun = lasting.pop(cause_of(name), None)
        held = f"; on it: {held_text(snapshot, name)}" if box.heard_s else ""
        text = f"{name} is {standing_words(box, None)}{held}"
        severity: Severity = "warning" if box.standing == "silent" else "error"
        yield Alert(f"{cause_of(name)} {box.heard_s:.0f}", text, severity, begun.at_s if begun else box.heard_s or None)


# ── what devices say of themselves ────────────────────────────────────────────────────────────────


def _devices(snapshot: Snapshot, later_s: float, lasting: dict[str, Alert]) -> Iterator[Alert]:
    groups: dict[str, list[tuple[DeviceId, Reading]]] = defaultdict(list)
    for name in snapshot.state.devices:
        reading = shown_reading(snapshot, name, later_s)
        if reading.health not in ("ok", "starting") and reading.cause != cause_of(box_of(name)):
            groups[_cause(reading)].append((name, reading))
    for cause, ill in groups.items():
        (_, reading), several = ill[0], len(ill) > 1
        why = f": {reading.reason}" if reading.reason else ""
        # What was told of them and what their state says is the same trouble.
        told = [cause, *(key for name, _ in ill for key in (name, worker_of(name)))]
        begun = [alert for key in told if (alert := lasting.pop(key, None)) is not None]
        text = f"{_named([name for name, _ in ill])} {condition(reading.health, several=several)}{why}"
        severity: Severity = "warning" if reading.health == "stale" else "error"
        yield Alert(cause, text, severity, begun[0].at_s if begun else None)


def _cause(reading: Reading) -> str:
    """The same for all devices that the same has made ill."""
    if reading.cause:
        return reading.cause
    return reading.health if reading.health == "not answering" else f"{reading.health}: {reading.reason}"


def _named(devices: Sequence[DeviceId]) -> str:
    return f"{devices[0]} to {devices[-1]}" if len(devices) > 3 else ", ".join(devices)


def _leaks(snapshot: Snapshot) -> Iterator[Alert]:
    for name, known in snapshot.state.devices.items():
        if known.leaked_bytes:
            size = format_size(known.leaked_bytes)
            text = f"{name}: {size} did not come back when a model left"
            yield Alert(f"{name} leak {known.leaked_bytes}", text, "error")


# ── what the journal says ─────────────────────────────────────────────────────────────────────────


class _Told:
    """The engine's own words: what it said to begin and to end, and what only happened."""

    def __init__(self, earlier: Mapping[float, Sequence[Record]], later: Sequence[Record], since_s: float) -> None:
        """`earlier`: of engines that have ended, by when the next one started."""
        self.lasting: dict[str, Alert] = {}
        """By condition."""
        self.happened: list[Alert] = []
        self.over: list[Alert] = []
        for started_s, records in earlier.items():
            self._hear(records, since_s)
            for alert in (*self.lasting.values(), *self.happened):
                self.over.append(replace(alert, text=f"an earlier engine said: {alert.text}", until_s=started_s))
            self.lasting, self.happened = {}, []
        self._hear(later, since_s)
        self.happened.reverse()

    def _hear(self, records: Sequence[Record], since_s: float) -> None:
        for record in records:
            notice = record.entry
            if not isinstance(notice, Notice):
                continue
            if notice.over:
                if (begun := self.lasting.pop(notice.condition, None)) is not None:
                    self.over.append(replace(begun, text=_past(begun.text, notice.text), until_s=notice.at_s))
            elif notice.level != "info" and notice.condition:
                begun = self.lasting.get(notice.condition)
                at_s = notice.at_s if begun is None or begun.at_s is None else begun.at_s
                alert = Alert(f"{notice.condition} {at_s}", notice.text, notice.level, at_s)
                self.lasting[notice.condition] = alert
            elif notice.level != "info" and notice.at_s >= since_s:
                self.happened.append(Alert(f"notice {record.seq}", notice.text, notice.level, notice.at_s))


def _past(begun: str, over: str) -> str:
    """What it was, with what was told when it began, unless that says it already."""
    return over if over.startswith(begun.partition(";")[0]) else f"{over} (told then: {begun})"


def _failing(records: Sequence[Record]) -> Iterator[Alert]:
    """Loads that failed: of models whose last one did, together where the reason is the same, and of those that came since."""
    failed: dict[ModelName, list[Switch]] = {}
    for switch in (record.entry for record in records):
        if not isinstance(switch, Switch) or switch.outcome == "cancelled":
            continue
        for model in (load.model for load in switch.plan.loads):
            if switch.outcome == "failed":
                failed.setdefault(model, []).append(switch)
            elif times := failed.pop(model, None):
                text = f"loading {model} {_times(len(times))}: {times[-1].reason}; it has been loaded since"
                yield Alert(f"{model} failing", text, "error", times[0].at_s, switch.at_s + switch.total_s)
    by_reason: dict[str, list[ModelName]] = defaultdict(list)
    for model, times in failed.items():
        by_reason[times[-1].reason].append(model)
    for reason, models in by_reason.items():
        times = sorted((switch for model in models for switch in failed[model]), key=lambda switch: switch.at_s)
        text = f"loading {', '.join(models)} {_times(len(times))}: {reason}"
        yield Alert(f"failing {times[-1].id}", text, "error", times[0].at_s)


def _times(count: int) -> str:
    return f"failed {count} times, at last" if count > 1 else "failed"


# ── an engine that is silent, or gone ────────────────────────────────────────────────────────────────────────


def silence_text(silent_s: float) -> str:
    """Of an engine that gives no sign of life, and of what is shown of it."""
    return f"the engine has given no sign of life for {age_text(silent_s)}; what is shown is that old"


def gone_with(snapshot: Snapshot) -> str:
    """What went with an engine that was last heard of then: "with it load bge-base (copy), 2 requests of e5-small"."""
    return f"with it {under_way(snapshot) or 'nothing that was under way'}"


def under_way(snapshot: Snapshot) -> str:
    """Commands and requests of that moment; empty when there are none."""
    jobs = [f"{command_text(job.command)} ({job.phase})" for job in snapshot.jobs]
    asked = {model: told.waiting + told.in_flight for model, told in snapshot.requests.items()}
    requests = [f"{count_text(count, 'request', 'requests')} of {model}" for model, count in asked.items() if count]
    return ", ".join((*jobs, *requests))
