"""Demand traces: lines of `t_s,model,work`, read strictly, so that a damaged trace is never measured as another one."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from engine.core.names import MODEL_NAME_RULE, ModelName, is_model_name

HEADING: Final = "t_s,model,work"
_SHOWN: Final = 60
"""Characters of what somebody else wrote that are quoted."""


class TraceError(Exception):
    """A trace, or a table of sizes, that can't be used, and why."""


class TraceRequest(Struct, frozen=True):
    """One request of a trace."""

    at_s: float
    model: ModelName
    work: float
    """How much was asked for, in the trace's own unit: tokens, seconds, or 1."""


def read_trace(lines: Iterable[str]) -> tuple[TraceRequest, ...]:
    """The requests in `lines`, which begin with the heading. Raises TraceError with the number of the first bad line."""
    numbered = enumerate(lines, 1)
    heading = next(numbered, (1, ""))[1].strip()
    if heading != HEADING:
        raise TraceError(f"line 1: the heading is {heading[:_SHOWN]!r}; a trace begins with {HEADING}")
    requests: list[TraceRequest] = []
    for number, line in numbered:
        if line.strip():
            request = _request(number, line.strip())
            if requests and request.at_s < (earliest_s := requests[-1].at_s):
                raise TraceError(
                    f"line {number}: t_s goes back from {earliest_s:g} to {request.at_s:g}; sort the trace by time"
                )
            requests.append(request)
    if not requests:
        raise TraceError("the trace has a heading and no requests")
    return tuple(requests)


def salvaged(lines: Iterable[str]) -> tuple[tuple[TraceRequest, ...], tuple[str, ...]]:
    """The requests in `lines` that a disk may have damaged, and what is wrong with each line that is left out. A time that was
    damaged costs its own line: as few are left out as can be, so that the others never go back."""
    found: list[TraceRequest] = []
    numbers: list[int] = []
    faults: list[str] = []
    for number, line in enumerate(lines, 1):
        if line not in ("", HEADING):
            try:
                found.append(_request(number, line))
                numbers.append(number)
            except TraceError as error:
                faults.append(str(error))
    kept = _never_going_back([request.at_s for request in found])
    stray = sorted(set(range(len(found))) - set(kept))
    faults += (f"line {numbers[place]}: its t_s, {found[place].at_s:g}, does not fit the others" for place in stray)
    return tuple(found[place] for place in kept), tuple(faults)


def _never_going_back(times: Sequence[float]) -> list[int]:
    """The places of the most of `times` that never go back (a longest non-decreasing subsequence)."""
    ends: list[float] = []  # by length: the earliest end of a sequence so long
    places: list[int] = []
    before: list[int] = []
    for place, at_s in enumerate(times):
        length = bisect_right(ends, at_s)
        before.append(places[length - 1] if length else -1)
        ends[length : length + 1] = [at_s]
        places[length : length + 1] = [place]
    kept: list[int] = []
    place = places[-1] if places else -1
    while place >= 0:
        kept.append(place)
        place = before[place]
    return kept[::-1]


def without_repeats(requests: Sequence[TraceRequest]) -> tuple[ModelName, ...]:
    """The models in the order in which they were asked for, consecutive requests for the same one counted once."""
    models = [request.model for request in requests]
    return (*models[:1], *(later for earlier, later in pairwise(models) if later != earlier))


def sped_up(requests: Sequence[TraceRequest], times: float) -> tuple[TraceRequest, ...]:
    """The same requests, `times` as fast one after the other; the work of each stays."""
    return tuple(replace(request, at_s=request.at_s / times) for request in requests)


def _request(number: int, line: str) -> TraceRequest:
    fields = line.split(",")
    if len(fields) != 3:
        raise TraceError(f"line {number}: {len(fields)} fields where 3 belong: {HEADING}")
    at_s, work = _figure(number, "t_s", fields[0]), _figure(number, "work", fields[2])
    if not is_model_name(fields[1]):
        raise TraceError(f"line {number}: {fields[1][:_SHOWN]!r} is not a model's name; a name is {MODEL_NAME_RULE}")
    return TraceRequest(at_s, fields[1], work)


def _figure(number: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise TraceError(f"line {number}: {name} is {text[:_SHOWN]!r}, not a number of 0 or more")
    return value
