"""What went wrong, as each dialect says it: a status, and a body of its own shape."""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias

from aiohttp import web
from msgspec import Struct

from engine.api import (
    BadRequest,
    CannotServe,
    DeadlinePassed,
    EngineError,
    EngineUnreachable,
    Overloaded,
    ReadOnly,
    Unfit,
    UnknownModel,
)
from engine.core.serialization import to_json
from engine.core.texts import in_brief
from engine.gateway.dialect import BadBody

Dialect: TypeAlias = Literal["openai", "ollama", "cohere"]


class Fault(Struct, frozen=True):
    """What went wrong, in no dialect."""

    status: int
    kind: str
    """OpenAI's `type`."""
    message: str
    code: str | None = None
    field: str | None = None
    retry_after_s: float | None = None


class OpenAIProblem(Struct, frozen=True):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class OpenAIProblemBody(Struct, frozen=True):
    error: OpenAIProblem


class OllamaProblemBody(Struct, frozen=True):
    error: str


class CohereProblemBody(Struct, frozen=True):
    message: str


_INVALID: Final = "invalid_request_error"


def fault_of(error: EngineError | BadBody) -> Fault:
    """The status by which clients know what to do: 4xx is theirs to mend, 429 and 503 to try again later."""
    match error:
        case BadBody(field=field):
            return Fault(400, _INVALID, str(error), "bad_body", field)
        case UnknownModel():
            return Fault(404, _INVALID, str(error), "model_not_found", "model")
        case Unfit() | BadRequest():
            return Fault(400, _INVALID, str(error), "unfit")
        case Overloaded(retry_after_s=retry_after_s):
            return Fault(429, "rate_limit_error", str(error), "overloaded", retry_after_s=retry_after_s)
        case DeadlinePassed():
            return Fault(504, "timeout_error", str(error), "deadline_passed")
        case ReadOnly():
            return Fault(403, "permission_error", str(error), "read_only")
        case EngineUnreachable():
            return Fault(503, "server_error", str(error), "engine_unreachable")
        case CannotServe():
            return Fault(503, "server_error", str(error), "cannot_serve")
        case _:
            return Fault(500, "server_error", str(error), "engine")


def body_of(fault: Fault, dialect: Dialect) -> OpenAIProblemBody | OllamaProblemBody | CohereProblemBody:
    """As the dialect's clients expect it, in a response or as a line of a stream."""
    match dialect:
        case "openai":
            return OpenAIProblemBody(OpenAIProblem(fault.message, fault.kind, fault.field, fault.code))
        case "ollama":
            return OllamaProblemBody(fault.message)
        case "cohere":
            return CohereProblemBody(fault.message)


def response_of(fault: Fault, dialect: Dialect) -> web.Response:
    """The whole response."""
    headers = {} if fault.retry_after_s is None else {"Retry-After": str(max(1, math.ceil(fault.retry_after_s)))}
    body = to_json(body_of(fault, dialect))
    return web.Response(body=body, status=fault.status, content_type="application/json", headers=headers)


def unpacked_words(called: str, error: web.RequestPayloadError) -> str:
    """Of a body that is not packed, or cut into pieces, in the way that its headers say."""
    why = " ".join(str(error).split())
    return f"the body of {called} does not come as its headers say: {in_brief(why)}"


def dialect_of(path: str) -> Dialect:
    """By where the request goes."""
    if path.startswith("/api/"):
        return "ollama"
    return "cohere" if path.startswith("/v2/") else "openai"
