"""How requests fare: for each model what is in flight, how fast it goes, how long answers take, and what came to nothing.

The log is told of each request's life, with the time; figures are of the last minutes, and of the newest answers at most, so
that it never grows. It also lists the requests under way, each with who asks. A request's work is spread evenly over the time
that it ran: one that ends after a minute of work does not look like a minute's work in an instant.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from engine.core.names import DeviceId, ModelName
from engine.core.tasks import KIND_OF, Task, TaskKind

Outcome: TypeAlias = Literal["answered", "failed", "refused", "left"]
"""How a request ended. `refused`: before it ran, such as by a full queue. `left`: its client went, its deadline passed, or the
operator ended it."""

TIMES_S: Final = 300.0
"""So far back go the times."""
RATE_S: Final = 60.0
"""So far back goes the rate."""
KEPT_ANSWERS: Final = 512
"""Of each model: a busy one answers more in five minutes, and its newest tell enough."""
RENEWED_S: Final = 1.0
"""Rates and times are worked out at most so often: nobody reads faster, and a screen is not repainted for nothing."""
LISTED_REQUESTS: Final = 256
"""Of the requests under way, the oldest so many are told one by one; the rest are counted."""
_DIGITS: Final = 3
"""That count: figures that differ in later ones are no news."""


class Asker(Struct, frozen=True):
    """Who asks, as whoever let them in knows them: by a key, from an address where no key is needed, or as a process of this
    machine. All of it empty: the engine's own process."""

    key: str = ""
    """The name of the key."""
    address: str = ""
    pid: int | None = None
    process: str = ""
    """The process's name when it asked."""
    user: str = ""

    @property
    def text(self) -> str:
        """As people are told it: "key app", "python3 4242 (ann)", "127.0.0.1"."""
        if self.key:
            return f"key {self.key}"
        if self.user:
            return f"{self.process or 'process'} {self.pid or 'of another container'} ({self.user})"
        return self.address or "the engine's own process"


class RequestUnderWay(Struct, frozen=True):
    """One request that has not ended."""

    number: int
    """By which it can be cancelled: 1 is the first since the engine started."""
    asker: Asker
    model: ModelName
    task: TaskKind
    work: int
    """What was asked for: rows, or the most tokens to be written."""
    age_s: float
    """Since it came."""
    device: DeviceId | None = None
    """Where it runs, or waits for its turn there; None while it has no device."""
    device_s: float | None = None
    """For how long the device has had it."""
    parts: int = 0
    """Parts of a text that have come, a token each at most times. Rows come all at once."""


class RequestsUnderWay(Struct, frozen=True):
    """The oldest requests that have not ended, the oldest first, and how many there are in all."""

    requests: tuple[RequestUnderWay, ...] = ()
    count: int = 0


class RequestFigures(Struct, frozen=True):
    """Of one model. Times are of the requests that were answered in the last five minutes, the newest 512 at most; those that
    failed, were refused or left have no part in them. None where there was nothing to tell."""

    waiting: int = 0
    """Requests that have no device yet."""
    in_flight: int = 0
    """Requests that a device has: it works on them, or they wait there for their turn."""
    per_s: float = 0.0
    """Rows, or tokens written, a second: of the last minute, or since the first request in it."""
    first_part_s: float | None = None
    """Median time to the first part: of a text, the first token; else the whole answer."""
    p50_s: float | None = None
    """From when it was asked for until its answer."""
    p95_s: float | None = None
    answered: int = 0
    """How many the times are of."""
    failed: int = 0
    """Since the engine started, as the next ones."""
    refused: int = 0
    left: int = 0
    ever_answered: int = 0
    ever_done: int = 0
    """Rows, or tokens written, of those that were answered."""


class _Answered(NamedTuple):
    began_s: float
    """When its work began."""
    ended_s: float
    seconds: float
    first_part_s: float
    work: int


class _Ongoing(Struct):
    model: ModelName
    task: TaskKind
    work: int
    asker: Asker
    asked_s: float
    device: DeviceId | None = None
    granted_s: float | None = None
    first_s: float | None = None
    last_s: float = 0.0
    parts: int = 0


class _Past(Struct):
    """What a model's requests came to."""

    answers: deque[_Answered]
    ended: dict[Outcome, int]
    done: int = 0
    """Work of all that were answered."""
    pace: RequestFigures = RequestFigures()
    """Rates and times, as they were last worked out."""
    pace_at_s: float = -math.inf
    is_new: bool = False
    """Whether something has come or grown old since; where nothing has, only the rate can change."""


def _no_past() -> _Past:
    return _Past(deque(maxlen=KEPT_ANSWERS), {"answered": 0, "failed": 0, "refused": 0, "left": 0})


class RequestLog:
    """Keeps what the figures are made of. Seconds are those of the steady clock."""

    def __init__(self) -> None:
        self._ongoing: dict[int, _Ongoing] = {}
        self._past: defaultdict[ModelName, _Past] = defaultdict(_no_past)

    def asked(self, number: int, model: ModelName, task: Task, asker: Asker, now_s: float) -> None:
        """A request came."""
        self._ongoing[number] = _Ongoing(model, KIND_OF[type(task)], task.work, asker, now_s)
        self._past[model]  # from now on there are figures of it

    def granted(self, number: int, device: DeviceId, now_s: float) -> None:
        """It runs there from now on; told again where it begins anew, which begins its parts anew."""
        request = self._ongoing[number]
        request.device, request.granted_s = device, now_s
        request.parts = 0

    def said(self, number: int, now_s: float) -> None:
        """A part of it came: about a token. The first one is that of the first run."""
        request = self._ongoing[number]
        if request.first_s is None:
            request.first_s = now_s
        request.last_s = now_s
        request.parts += 1
        self._past[request.model].is_new = True

    def ended(self, number: int, outcome: Outcome, work: int, now_s: float) -> None:
        """It ended, having done so much work: rows, or tokens written."""
        request = self._ongoing.pop(number)
        past = self._past[request.model]
        past.ended[outcome] += 1
        if outcome == "answered":
            began_s = request.asked_s if request.granted_s is None else request.granted_s
            first_s = now_s if request.first_s is None else request.first_s
            seconds = now_s - request.asked_s
            past.answers.append(_Answered(began_s, now_s, seconds, first_s - request.asked_s, work))
            past.done += work
            past.is_new = True

    def under_way(self, now_s: float) -> RequestsUnderWay:
        """Who waits and who runs. Requests are kept in the order in which they came."""
        oldest = itertools.islice(self._ongoing, LISTED_REQUESTS)
        return RequestsUnderWay(tuple(self._told(number, now_s) for number in oldest), len(self._ongoing))

    def one_under_way(self, number: int, now_s: float) -> RequestUnderWay | None:
        """None where it has ended, or never was."""
        return self._told(number, now_s) if number in self._ongoing else None

    def _told(self, number: int, now_s: float) -> RequestUnderWay:
        its = self._ongoing[number]
        device_s = None if its.granted_s is None else now_s - its.granted_s
        about = number, its.asker, its.model, its.task, its.work
        return RequestUnderWay(*about, now_s - its.asked_s, its.device, device_s, its.parts)

    def is_moving(self, now_s: float) -> bool:
        """Whether figures may change though nothing more happens: while answers are kept, which grow old."""
        self._forget(now_s)
        return bool(self._ongoing) or any(past.answers for past in self._past.values())

    def figures(self, now_s: float) -> dict[ModelName, RequestFigures]:
        """Of each model that was asked for since the start, rates and times at most RENEWED_S old."""
        self._forget(now_s)
        now = {model: self._figures(past, model, now_s) for model, past in self._past.items()}
        for request in self._ongoing.values():
            known = now[request.model]
            if request.granted_s is None:
                now[request.model] = replace(known, waiting=known.waiting + 1)
            else:
                now[request.model] = replace(known, in_flight=known.in_flight + 1)
        return now

    def _figures(self, past: _Past, model: ModelName, now_s: float) -> RequestFigures:
        if now_s - past.pace_at_s >= RENEWED_S and (past.is_new or past.pace.per_s):
            past.pace, past.pace_at_s = self._pace(past.answers, model, now_s), now_s
            past.is_new = False
        ended = past.ended
        return replace(
            past.pace,
            failed=ended["failed"],
            refused=ended["refused"],
            left=ended["left"],
            ever_answered=ended["answered"],
            ever_done=past.done,
        )

    def _pace(self, answers: Sequence[_Answered], model: ModelName, now_s: float) -> RequestFigures:
        seconds = sorted(answer.seconds for answer in answers)
        return RequestFigures(
            per_s=_rounded(self._per_s(answers, model, now_s)),
            first_part_s=_at(sorted(answer.first_part_s for answer in answers), 0.5),
            p50_s=_at(seconds, 0.5),
            p95_s=_at(seconds, 0.95),
            answered=len(answers),
        )

    def _per_s(self, answers: Sequence[_Answered], model: ModelName, now_s: float) -> float:
        from_s = now_s - RATE_S
        if len(answers) == KEPT_ANSWERS:
            from_s = max(
                from_s, answers[0].ended_s
            )  # what ended before is forgotten, and must not count as nothing done
        spans = [(a.began_s, a.ended_s, a.work) for a in answers if a.ended_s > from_s]
        spans += [
            (r.granted_s, r.last_s, r.parts)
            for r in self._ongoing.values()
            if r.model == model and r.parts and r.granted_s is not None and r.last_s > from_s
        ]
        if not spans:
            return 0.0
        begun_s = max(from_s, min(began_s for began_s, _, _ in spans))
        done = sum(work * _share_since(begun_s, began_s, ended_s) for began_s, ended_s, work in spans)
        return done / max(now_s - begun_s, RENEWED_S)

    def _forget(self, now_s: float) -> None:
        for past in self._past.values():
            while past.answers and past.answers[0].ended_s <= now_s - TIMES_S:
                past.answers.popleft()
                past.is_new = True


def _share_since(from_s: float, began_s: float, ended_s: float) -> float:
    return (ended_s - max(began_s, from_s)) / (ended_s - began_s) if ended_s > began_s else 1.0


def _at(ordered: Sequence[float], share: float) -> float | None:
    """The smallest that at least `share` of them do not exceed."""
    return _rounded(ordered[math.ceil(share * len(ordered)) - 1]) if ordered else None


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
