"""The past from the engine's files, as far as it is wanted: to be read in a thread."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from typing import Final, TypeAlias, TypeVar

from citadel_tui.timeline.chronicle import MOST, Chronicle, time_of
from engine.core.records import Record
from engine.paths import Paths
from engine.recording.journal import newest_records
from engine.recording.memory import EngineFacts, MemoryLine, Sample, newest_memory

AT_HAND_BYTES: Final = 2 << 20
"""Of the journal, and of the recorded monitor: the last hours, read in a tenth of a second."""
_TURN: Final = 16
"""Lines that are read in a fraction of a millisecond."""
_T = TypeVar("_T")
_Told: TypeAlias = tuple[float, Record | MemoryLine]


def recorded_past(paths: Paths, most_bytes: int = AT_HAND_BYTES, most: int = MOST) -> Chronicle:
    """What the newest `most_bytes` of each file tell, at most so many stays and edges. Raises OSError."""
    records = _in_order([(time_of(record), record) for record in _turns(newest_records(paths.journal, most_bytes))])
    lines = _in_order([(_time(line), line) for line in _turns(newest_memory(paths.memory, most_bytes))])
    chronicle = Chronicle(most)
    for _, told in _turns(merge(records, lines, key=lambda item: item[0])):
        match told:
            case Record():
                chronicle.record(told)
            case Sample():
                chronicle.sampled(told)
            case EngineFacts(hello=hello):
                chronicle.started(hello.started_at_s)
    return chronicle


def _turns(told: Iterable[_T]) -> Iterator[_T]:
    """The same, letting another thread go first now and then: the console's loop waits for none of this."""
    for number, one in enumerate(told):
        if number % _TURN == 0:
            time.sleep(0)
        yield one


def _time(line: MemoryLine) -> float:
    return line.hello.started_at_s if isinstance(line, EngineFacts) else line.at_s


def _in_order(told: Sequence[_Told]) -> list[_Told]:
    """With times that are no later than those of what comes after: a clock may have been set back."""
    ordered: list[_Told] = []
    at_s = float("inf")
    for time_s, one in reversed(told):
        at_s = min(at_s, time_s)
        ordered.append((at_s, one))
    return ordered[::-1]
