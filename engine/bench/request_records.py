"""What a benchmark of requests writes down: of each request what its client saw, how they were sent, and the machine.

The JSON file of `citadel bench --requests`, and of `citadel drive --output`, is one RequestsResult; the CSV has a row a request.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, Literal, TextIO, TypeAlias

from msgspec import Struct

from engine.core.names import DeviceId, ModelName
from engine.core.ranks import nearest_rank
from engine.core.tasks import WorkUnit
from engine.recording.host_facts import HostFacts

REQUESTS_VERSION: Final = 1
REQUESTS: Final = "requests"
"""The kind of such a file; those of switches name none."""

Sending: TypeAlias = Literal["alone", "together", "played"]
"""One after the other, several at once, or when a trace has them."""

_CSV_COLUMNS: Final = (
    *("model", "synthetic", "sent", "at_once", "cold", "request", "device", "answer_s", "first_part_s"),
    *("between_parts_mean_s", "between_parts_p99_s", "work", "unit"),
)


class RequestTimes(Struct, frozen=True):
    """One request that was answered, as its client saw it; seconds since it was sent, or was due where it is of a trace."""

    device: DeviceId
    answer_s: float
    first_part_s: float
    """Of a text, its first part; else the whole answer."""
    gaps_s: tuple[float, ...]
    """Between the parts of a text, as they came; one part is a token, or some where a character needs several."""
    work: int
    """Rows, or tokens written."""

    @property
    def mean_gap_s(self) -> float | None:
        """None for an answer in one piece."""
        return sum(self.gaps_s) / len(self.gaps_s) if self.gaps_s else None


class RequestSubject(Struct, frozen=True, order=True):
    """What was measured."""

    model: ModelName
    sent: Sending
    at_once: int = 1
    """Requests under way at a time; of a trace, none is given."""
    cold: bool = False
    """Whether the model had to be loaded for it."""


class RequestRound(Struct, frozen=True):
    """Requests that were sent at once, or a whole play."""

    seconds: float
    """From the first one until the last answer."""
    work: int
    """All that was done meanwhile."""


class RequestSeries(Struct, frozen=True):
    """The requests of one subject."""

    subject: RequestSubject
    synthetic: bool
    """Whether the model's weights are random, made from a real configuration."""
    unit: WorkUnit
    answers: tuple[RequestTimes, ...]
    rounds: tuple[RequestRound, ...]

    @property
    def per_s(self) -> float:
        """Work a second, over all rounds."""
        seconds = sum(one.seconds for one in self.rounds)
        return sum(one.work for one in self.rounds) / seconds if seconds else 0.0

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """Of all answers."""
        return tuple(chain.from_iterable(answer.gaps_s for answer in self.answers))


class RequestOmission(Struct, frozen=True):
    """A subject without figures."""

    subject: RequestSubject
    synthetic: bool
    reason: str


class RequestsResult(Struct, frozen=True, tag=REQUESTS, tag_field="kind"):
    """A whole benchmark of requests, or a play."""

    format_version: int
    at_s: float
    """When it began, seconds since the epoch."""
    engine_version: str
    machine: HostFacts
    mix: str
    """What was sent, in words."""
    series: tuple[RequestSeries, ...]
    omissions: tuple[RequestOmission, ...] = ()


def write_requests_csv(file: TextIO, series: Iterable[RequestSeries]) -> None:
    """A row a request: seconds, and nothing where a figure is not known."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(_CSV_COLUMNS)
    for one in series:
        about = one.subject
        named = (about.model, one.synthetic, about.sent, about.at_once, about.cold)
        for number, answer in enumerate(one.answers, start=1):
            times = (answer.answer_s, answer.first_part_s, answer.mean_gap_s, rank_or_none(answer.gaps_s, 0.99))
            rows.writerow((*named, number, answer.device, *times, answer.work, one.unit))


def rank_or_none(values: Sequence[float], share: float) -> float | None:
    """The smallest of `values` that at least `share` of them do not exceed; None without any."""
    return nearest_rank(values, share) if values else None
