"""Whatever the bytes are, a reader gives a value or an error of our own, soon, and grows by nothing."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import pytest

from tests.faults.mutations import mutations
from tests.faults.readers import READERS, MakeReader

HANGS_S: Final = 10
"""Of processor time, so that a busy machine is no hang."""
GROWS_MIB: Final = 300
LONGEST_SAID: Final = 20_000


@contextmanager
def no_hang() -> Iterator[None]:
    """Fails what takes too long of the processor, where it is then."""

    def told(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"took more than {HANGS_S} s of the processor")

    before = signal.signal(signal.SIGPROF, told)
    signal.setitimer(signal.ITIMER_PROF, HANGS_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def most_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


@pytest.mark.parametrize("make", READERS, ids=lambda make: make.__name__)
def test_damaged_bytes_cost_what_they_are_and_no_more(make: MakeReader, tmp_path: Path, mutation_count: int) -> None:
    reader = make(tmp_path)
    for sample in reader.samples:
        if make.__name__ != "frames" or sample[:4] != reader.samples[1][:4]:
            _read(reader.read, sample, reader.errors)
    before_mib = most_mib()
    for number, data in enumerate(mutations(reader.samples, seed=19, count=mutation_count, values=not reader.sealed)):
        try:
            with no_hang():
                _read(reader.read, data, reader.errors)
        except BaseException as error:
            kept = tmp_path / f"{number}.bad"
            kept.write_bytes(data)
            raise AssertionError(f"mutation {number} ({len(data)} bytes, kept as {kept}): {error!r}") from error
    assert most_mib() - before_mib < GROWS_MIB


def _read(read: object, data: bytes, errors: tuple[type[Exception], ...]) -> None:
    assert callable(read)
    try:
        read(data)
    except errors as error:
        said = str(error)
        assert said, "an error without a word"
        assert len(said) < LONGEST_SAID, f"{len(said)} characters"
        assert all(line.isprintable() for line in said.split("\n")), repr(said[:300])
