"""How requests fare: for each model what is in flight, how fast it goes, how long answers take, and what came to nothing.

The log is told of each request's life, with the time; figures are of the last minutes.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from engine.core.names import DeviceId, ModelName

Outcome: TypeAlias = Literal["answered", "failed", "refused", "left"]
"""How a request ended. `refused`: before it ran, such as by a full queue. `left`: its client went, its deadline passed, or the
operator ended it."""


class RequestFigures(Struct, frozen=True):
    """Of one model. Rates and times are of the last minutes; None where there was nothing to tell."""

    waiting: int = 0
    """Requests that have no lease yet."""
    in_flight: int = 0
    """Requests that a device works on."""
    per_s: float = 0.0
    """Rows, or tokens written, a second."""
    first_part_s: float | None = None
    """Median time to the first part: of a text, the first token; else the whole answer."""
    p50_s: float | None = None
    """From when it was asked for until its answer."""
    p95_s: float | None = None
    answered: int = 0
    """Of the last minutes, as the times and rates above."""
    refused: int = 0
    """Since the engine started, as the next one."""
    left: int = 0


class RequestLog:
    """Keeps what the figures are made of."""

    def __init__(self) -> None:
        self._waiting: dict[int, ModelName] = {}
        self._running: dict[int, ModelName] = {}

    def asked(self, number: int, model: ModelName, work: int, now_s: float) -> None:
        """A request came for so many rows, or tokens at most. Seconds are those of the steady clock."""
        self._waiting[number] = model

    def granted(self, number: int, device: DeviceId, now_s: float) -> None:
        """It runs there from now on; told again where it begins anew."""
        if model := self._waiting.pop(number, None):
            self._running[number] = model

    def said(self, number: int, now_s: float) -> None:
        """A part of it came; the first one counts."""

    def ended(self, number: int, outcome: Outcome, work: int, now_s: float) -> None:
        """It ended, having done so much work."""
        self._waiting.pop(number, None)
        self._running.pop(number, None)

    def figures(self, now_s: float) -> dict[ModelName, RequestFigures]:
        """Of each model that was asked for since the start."""
        models = dict.fromkeys((*self._waiting.values(), *self._running.values()))
        return {
            model: RequestFigures(
                waiting=list(self._waiting.values()).count(model), in_flight=list(self._running.values()).count(model)
            )
            for model in models
        }
