"""What every request passes: the peer's user, the protocol's version, the read-only mode; who asks is told to the engine, and
errors become JSON."""

from __future__ import annotations

import logging
import os
import pwd
from collections.abc import Awaitable, Callable
from functools import cache
from math import ceil
from pathlib import Path
from typing import Final, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Middleware

from engine.api import ASKER, PROTOCOL, EngineError
from engine.core.insight.request_figures import Asker
from engine.core.serialization import Undecodable, to_json
from engine.core.texts import in_brief
from engine.gateway.problems import unpacked_words
from engine.transport import Peer, peer_of
from engine.wire import (
    MODE_HEADER,
    PROTOCOL_HEADER,
    READ_ONLY,
    STATUS,
    ErrorBody,
    WireProblem,
    mismatch,
    problem_of,
    same_protocol,
)


def foreign(uid: int) -> WireProblem | None:
    """Why user `uid` may not speak to this engine, or None when it is our own user."""
    if uid == os.getuid():
        return None
    return WireProblem("forbidden", f"this engine belongs to user {os.getuid()}, you are user {uid}; run your own")


Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_WATCHING: Final = {("POST", "/v1/plan"), ("POST", "/v1/propose")}
"""Calls that change nothing though they are not GET."""
_STOP: Final = "/v1/stop"
"""Open to clients of any version: it is how one gets rid of an engine of another."""

_log: Final = logging.getLogger(__name__)


def gate(*, read_only: bool) -> Middleware:
    """The middleware; `read_only` makes every client one that may only watch."""

    @web.middleware
    async def pass_gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = None if request.transport is None else peer_of(request.transport.get_extra_info("socket"))
        if peer is None:
            return problem_response(WireProblem("forbidden", "the connection has gone"))
        if refused := foreign(peer.uid) or _stranger(request) or _watcher(request, read_only):
            return problem_response(refused)
        if request.method == "POST":  # who only looks asks no model for anything
            ASKER.set(_asker(peer))
        return await _answer(request, handler)

    return pass_gate


def problem_response(problem: WireProblem) -> web.Response:
    body = to_json(ErrorBody(problem)) + b"\n"  # a line, since whoever reads a stream reads lines
    wait_s = problem.retry_after_s
    headers = None if wait_s is None else {"Retry-After": str(ceil(wait_s))}
    return web.Response(body=body, status=STATUS[problem.kind], content_type="application/json", headers=headers)


async def mark_protocol(_request: web.Request, response: web.StreamResponse) -> None:
    """Every answer shows the engine's version, so that a client can tell before it reads on."""
    response.headers[PROTOCOL_HEADER] = str(PROTOCOL)


def _asker(peer: Peer) -> Asker:
    """The process by the name that it has now. The kernel says 0 for one that this container can't see."""
    try:
        name = Path(f"/proc/{peer.pid}/comm").read_text(errors="replace").strip()
    except OSError:
        name = ""
    return Asker(pid=peer.pid or None, process=name, user=_user_name(peer.uid))


@cache  # it is our own user each time, and a directory server may take long to say its name
def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _stranger(request: web.Request) -> WireProblem | None:
    theirs = request.headers.get(PROTOCOL_HEADER)
    if request.path == _STOP or same_protocol(theirs):
        return None
    return WireProblem("protocol", mismatch(str(theirs), str(PROTOCOL)))


def _watcher(request: web.Request, engine_read_only: bool) -> WireProblem | None:
    if request.method == "GET" or (request.method, request.path) in _WATCHING:
        return None
    if engine_read_only:
        return WireProblem("read-only", "this engine only lets its clients watch; nothing was changed")
    if request.headers.get(MODE_HEADER) == READ_ONLY:
        return WireProblem("read-only", "this client was started to watch only (--read-only); nothing was changed")
    return None


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    called = in_brief(f"{request.method} {request.path}")
    try:
        return await handler(request)
    except EngineError as error:
        return problem_response(problem_of(error))
    except Undecodable as error:
        return problem_response(
            WireProblem("bad-request", f"the body of {called} can't be read: {error}; nothing was done")
        )
    except web.RequestPayloadError as error:
        return problem_response(WireProblem("bad-request", f"{unpacked_words(called, error)}; nothing was done"))
    except web.HTTPException as error:
        problem = WireProblem("bad-request", f"{called}: {error.reason}")
        response = problem_response(problem)
        response.set_status(error.status)
        return response
    except Exception as error:
        _log.exception("%s failed", called)
        return problem_response(
            WireProblem("engine", f"the engine failed on {called} ({error!r}); its log has the details")
        )
