"""What can be wrong with weights, as sentences for the person who must mend it."""

from __future__ import annotations

from typing import Final

from engine.core.texts import in_brief

_LONGEST: Final = 4000
"""Characters: of sentences of our own, no matter what they quote."""


class WeightsError(Exception):
    """Something about weights that a person should read, however strange the names in it are."""

    def __init__(self, said: str) -> None:
        super().__init__(in_brief(said, _LONGEST))


class SourceMissing(WeightsError):
    """None of a model's sources can be used on this machine."""


class BadCheckpoint(WeightsError):
    """A checkpoint or a prepared folder that can't be read or must not be trusted."""


class DamagedSlab(BadCheckpoint):
    """A prepared slab's bytes are not those that were written."""


class DiskFull(WeightsError):
    """The disk has no room for what was to be written; nothing was left behind."""


class NotWritable(WeightsError):
    """The folder that something was to be written to can't be written."""


class ReadStopped(WeightsError):
    """Somebody took a read back before it ended."""
