"""Why a worker can't do what it was asked, each with the kind under which the engine hears of it."""

from __future__ import annotations

from typing import Final

from engine.weights.errors import WeightsError
from engine.worker.protocol import Failure


class OutOfMemory(Exception):
    """The device has no room left."""


class BadRequest(Exception):
    """The request can't be meant as it is."""


class DeviceUnusable(Exception):
    """The device can't be used by this process at all."""


class DeviceUnsupported(Exception):
    """The device can't be used by this installation: torch has nothing for its kind."""


class StaleLock(Exception):
    """The card holds a page-lock over memory that this process knows to be unlocked: it may read pages that are no longer
    there. The process must end."""


class NotResident(Exception):
    """The model is not on this device."""


class SlabNotRead(Exception):
    """The slab that a load copies from will not come into the RAM tier."""


class SlabReplaced(Exception):
    """The prepared folder is not what the slab in the RAM tier was read from any more."""


LONGEST_REASON: Final = 300
"""Characters of another library's message that people are shown: torch adds C++ stack traces of thousands."""


def in_short(error: BaseException) -> str:
    """What went wrong, from an error whose text nobody here has written: its first line, no longer than one can read."""
    line = str(error).strip().partition("\n")[0].rstrip(" .")
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"


def failure_of(request_id: int, error: Exception) -> Failure:
    """What the engine is told of `error`."""
    match error:
        case OutOfMemory() | MemoryError():
            return Failure(request_id, "out of memory", str(error) or "the process has no memory left")
        case WeightsError():
            return Failure(request_id, "bad checkpoint", str(error))
        case BadRequest():
            return Failure(request_id, "bad request", str(error))
        case DeviceUnusable():
            return Failure(request_id, "device unusable", str(error))
        case DeviceUnsupported():
            return Failure(request_id, "device unsupported", str(error))
        case NotResident():
            return Failure(request_id, "not resident", str(error))
        case SlabNotRead():
            return Failure(request_id, "not read", str(error))
        case SlabReplaced():
            return Failure(request_id, "replaced", str(error))
        case _:
            return Failure(request_id, "internal", f"{type(error).__name__}: {in_short(error)}")
