"""What client and service must agree on beside the API's own data: headers, request bodies, and how errors travel."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from engine.api import (
    PROTOCOL,
    BadRequest,
    CannotServe,
    DeadlinePassed,
    EngineError,
    EngineUnreachable,
    OtherVersion,
    Overloaded,
    ReadOnly,
    RunStopped,
    Unfit,
    UnknownModel,
)
from engine.core.names import ModelName
from engine.core.serialization import Undecodable, from_json
from engine.core.tasks import RunEvent, Task
from engine.core.texts import in_brief

PROTOCOL_HEADER: Final = "Citadel-Protocol"
MODE_HEADER: Final = "Citadel-Mode"
READ_ONLY: Final = "read-only"
"""The mode of a client that may only watch."""

KEEP_ALIVE_S: Final = 1.0
"""A stream of lines is never silent for longer: a blank one comes when there is nothing to say. It is the engine's sign of life:
what is shown without one may no longer be so."""
MAX_BODY_BYTES: Final = 16 << 20
MAX_RESULT_BYTES: Final = 512 << 20
"""Of the line with a run's result: room for whatever a worker can send (`worker.framing`), whose bytes grow by a third here."""


class RunRequest(Struct, frozen=True):
    model: ModelName
    task: Task


class OfferRequest(Struct, frozen=True):
    """Where a slab is to be offered."""

    host: str
    ports: tuple[Annotated[int, Meta(ge=0, le=65535)], ...]


class KeepAliveRequest(Struct, frozen=True):
    model: ModelName
    seconds: Annotated[float, Meta(ge=0)] | None


class QuietRequest(Struct, frozen=True):
    for_s: float


class QuietReply(Struct, frozen=True):
    sample_s: float


class CancelReply(Struct, frozen=True):
    """Whether there was a command to take back."""

    cancelled: bool


ProblemKind: TypeAlias = Literal[
    "unreachable",
    "read-only",
    "unknown-model",
    "unfit",
    "overloaded",
    "deadline",
    "stopped",
    "cannot-serve",
    "protocol",
    "forbidden",
    "bad-request",
    "engine",
]

STATUS: Final[dict[ProblemKind, int]] = {
    "unreachable": 503,
    "read-only": 403,
    "unknown-model": 404,
    "unfit": 422,
    "overloaded": 429,
    "deadline": 504,
    "stopped": 409,
    "cannot-serve": 409,
    "protocol": 426,
    "forbidden": 403,
    "bad-request": 400,
    "engine": 500,
}
_CLASSES: Final[dict[ProblemKind, type[EngineError]]] = {
    "unreachable": EngineUnreachable,
    "read-only": ReadOnly,
    "unknown-model": UnknownModel,
    "unfit": Unfit,
    "overloaded": Overloaded,
    "deadline": DeadlinePassed,
    "stopped": RunStopped,
    "cannot-serve": CannotServe,
    "protocol": OtherVersion,
    "forbidden": EngineUnreachable,
    "bad-request": BadRequest,
}


class WireProblem(Struct, frozen=True):
    kind: ProblemKind
    message: str
    retry_after_s: float | None = None
    """Of an engine that is overloaded: when to ask again."""


class ErrorBody(Struct, frozen=True):
    error: WireProblem


class RunFailed(Struct, frozen=True, tag="failed"):
    """The last line of a run that failed after its first part; before that, the response's status and body say so."""

    problem: WireProblem


RunLine: TypeAlias = RunEvent | RunFailed
"""A line of a run's response."""


def problem_of(error: EngineError) -> WireProblem:
    """How `error` travels; a subclass that is not listed travels as its nearest listed parent."""
    for kind, known in _CLASSES.items():
        if isinstance(error, known):
            return WireProblem(kind, str(error), error.retry_after_s if isinstance(error, Overloaded) else None)
    return WireProblem("engine", str(error))


def error_of(problem: WireProblem) -> EngineError:
    """The error as the client raises it."""
    if problem.kind == "overloaded" and problem.retry_after_s is not None:
        return Overloaded(problem.message, problem.retry_after_s)
    return _CLASSES.get(problem.kind, EngineError)(problem.message)


def error_in(body: bytes) -> EngineError:
    """The error that the body of a response carries."""
    try:
        return error_of(from_json(body, ErrorBody).error)
    except Undecodable:
        return EngineError(f"the engine refused, in words that this client can't read: {body[:200]!r}")


def mismatch(client: str, engine: str) -> str:
    """What to say when the two versions of the protocol differ."""
    return (
        f"this client speaks version {in_brief(client)} of the protocol, the engine version {in_brief(engine)}; "
        "restart the engine with `citadel stop`, then run the command again"
    )


def same_protocol(version: str | None) -> bool:
    """Whether a header shows our version; a client that shows none, such as curl, is taken at its word."""
    return version is None or version == str(PROTOCOL)


class StartReport(Struct, frozen=True):
    """How the start of an engine process went: the one line it writes to the descriptor it was given for that."""

    ready: bool
    message: str = ""
    """Why it is not ready, for people."""
