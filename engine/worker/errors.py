"""Why a worker can't do what it was asked, each with the kind under which the engine hears of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from engine.weights.errors import BadCheckpoint, WeightsError
from engine.worker.protocol import Failure

_ADVICE: Final = re.compile(
    r"trust_remote_code|remote code|custom code|install|https?://|hf\.co|huggingface|report|issue|from_pretrained|upgrade"
    r"|ignore_mismatched_sizes|use_auth|token=|discuss|[Pp]lease|You can|Make sure|above|below|argument",
)
"""Sentences that tell a programmer what to pass, or point to what nobody sees here."""
_MOST_WORDS: Final = 30
_PACKAGE: Final = re.compile(
    r"pip install [`'\"]?(?:-U )?([A-Za-z][\w-]*)|(?:requires?|need) (?:the )?`?([A-Za-z][\w-]*)`?"
)


class OutOfMemory(Exception):
    """The device has no room left."""


class BadRequest(Exception):
    """The request can't be meant as it is."""


class NoAnswer(Exception):
    """What the model says is none: not a number, or nothing but zeros."""


class DeviceUnusable(Exception):
    """The device can't be used by this process at all."""


class DeviceUnsupported(Exception):
    """The device can't be used by this installation: torch has nothing for its kind."""


class StaleLock(Exception):
    """The card holds a page-lock over memory that this process knows to be unlocked: it may read pages that are no longer
    there. The process must end."""


class Left(Exception):
    """Nobody waits for the run any more, so that it was given up."""


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


@contextmanager
def in_our_words(what: str, remedy: str) -> Iterator[None]:
    """Whatever a library raises inside becomes a BadCheckpoint that says `what` came to nothing, why, and the `remedy`: the
    libraries raise all sorts for one reason, a file of a checkpoint that is not what they expect. A lack of memory is
    passed on as it is."""
    try:
        yield
    except (WeightsError, OutOfMemory, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise BadCheckpoint(f"{what}: {_said(error)}; {remedy}") from error


def _said(error: Exception) -> str:
    """What the error says of the cause, without advice that is meant for others."""
    kind = type(error).__name__
    if isinstance(error, KeyError):
        return f"{error} is missing, or is a word that this version does not know"
    text = " ".join(str(error).split())
    if isinstance(error, ImportError):
        found = _PACKAGE.search(text)
        package = error.name or (next(filter(None, found.groups())) if found else None)
        return (
            f"it needs the Python package {package}, which does not come with Citadel"
            if package
            else f"{kind} was raised"
        )
    kept = [part for part in re.split(r"(?<=[.!?]) ", text) if not _ADVICE.search(part)]
    words = " ".join(kept).split()
    shown = " ".join(words[:_MOST_WORDS]) + (" …" if len(words) > _MOST_WORDS else "")
    return f"{shown.rstrip('.')} ({kind})" if shown else f"{kind} was raised"


def failure_of(request_id: int, error: Exception) -> Failure:
    """What the engine is told of `error`."""
    match error:
        case OutOfMemory() | MemoryError():
            return Failure(request_id, "out of memory", str(error) or "the process has no memory left")
        case WeightsError() | NoAnswer():
            return Failure(request_id, "bad checkpoint", str(error))
        case BadRequest():
            return Failure(request_id, "bad request", str(error))
        case DeviceUnusable():
            return Failure(request_id, "device unusable", str(error))
        case DeviceUnsupported():
            return Failure(request_id, "device unsupported", str(error))
        case Left():
            return Failure(request_id, "left", "nobody waited for it any more")
        case NotResident():
            return Failure(request_id, "not resident", str(error))
        case SlabNotRead():
            return Failure(request_id, "not read", str(error))
        case SlabReplaced():
            return Failure(request_id, "replaced", str(error))
        case _:
            return Failure(request_id, "internal", f"{type(error).__name__}: {in_short(error)}")
