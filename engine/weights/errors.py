"""What can be wrong with weights, as sentences for the person who must mend it."""

from __future__ import annotations


class WeightsError(Exception):
    """Something about weights that a person should read."""


class SourceMissing(WeightsError):
    """None of a model's sources can be used on this machine."""


class BadCheckpoint(WeightsError):
    """A checkpoint or a prepared folder that can't be read or must not be trusted."""


class DiskFull(WeightsError):
    """The disk has no room for what was to be written; nothing was left behind."""


class ReadStopped(WeightsError):
    """Somebody took a read back before it ended."""
