"""Demand traces: lines of `t_s,model,work`, read strictly, so that a damaged trace is never measured as another one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from engine.core.names import MODEL_NAME_RULE, ModelName, is_model_name

HEADING: Final = "t_s,model,work"


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
        raise TraceError(f"line 1: the heading is {heading!r}; a trace begins with {HEADING}")
    requests: list[TraceRequest] = []
    for number, line in numbered:
        if line.strip():
            requests.append(_request(number, line.strip(), requests[-1].at_s if requests else 0.0))
    if not requests:
        raise TraceError("the trace has a heading and no requests")
    return tuple(requests)


def without_repeats(requests: Sequence[TraceRequest]) -> tuple[ModelName, ...]:
    """The models in the order in which they were asked for, consecutive requests for the same one counted once."""
    models = [request.model for request in requests]
    return (*models[:1], *(later for earlier, later in pairwise(models) if later != earlier))


def sped_up(requests: Sequence[TraceRequest], times: float) -> tuple[TraceRequest, ...]:
    """The same requests, `times` as fast one after the other; the work of each stays."""
    return tuple(replace(request, at_s=request.at_s / times) for request in requests)


def _request(number: int, line: str, earliest_s: float) -> TraceRequest:
    fields = line.split(",")
    if len(fields) != 3:
        raise TraceError(f"line {number}: {len(fields)} fields where 3 belong: {HEADING}")
    at_s, work = _figure(number, "t_s", fields[0]), _figure(number, "work", fields[2])
    if not is_model_name(fields[1]):
        raise TraceError(f"line {number}: {fields[1]!r} is not a model's name; a name is {MODEL_NAME_RULE}")
    if at_s < earliest_s:
        raise TraceError(f"line {number}: t_s goes back from {earliest_s:g} to {at_s:g}; sort the trace by time")
    return TraceRequest(at_s, fields[1], work)


def _figure(number: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise TraceError(f"line {number}: {name} is {text!r}, not a number of 0 or more")
    return value
