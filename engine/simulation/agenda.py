"""What will happen when, in simulated time: events in order of time, and those of one instant in the order of their entry."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

Event = TypeVar("Event")


class Agenda(Generic[Event]):
    """A heap of events to come."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Event]] = []
        self._entries = count()

    @property
    def next_s(self) -> float:
        """When the next event is due; infinity when there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def put(self, at_s: float, event: Event) -> None:
        """Have `event` happen at `at_s`."""
        heapq.heappush(self._heap, (at_s, next(self._entries), event))

    def take(self) -> Event:
        """The next event, taken off. Raises IndexError when there is none."""
        return heapq.heappop(self._heap)[2]

    def forget(self, unwanted: Callable[[Event], bool]) -> None:
        """Let none of the events to come happen that are `unwanted`."""
        self._heap = [entry for entry in self._heap if not unwanted(entry[2])]
        heapq.heapify(self._heap)
