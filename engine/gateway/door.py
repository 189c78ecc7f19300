"""Who is let in over TCP, and the application behind that: host, origin, key and how much at once, then the dialects' routes."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, TypeAlias, cast

from aiohttp import web
from aiohttp.typedefs import Middleware
from msgspec import Struct

from engine.api import ASKER, EngineAPI, EngineError
from engine.core.insight.request_figures import Asker
from engine.core.sizes import format_size
from engine.core.texts import in_brief
from engine.gateway.dialect import BadBody
from engine.gateway.keys import KeyFile
from engine.gateway.metrics import Metrics
from engine.gateway.ollama_routes import OllamaRoutes
from engine.gateway.openai_routes import OpenAIRoutes
from engine.gateway.problems import Fault, dialect_of, fault_of, response_of, unpacked_words
from engine.gateway.watching import WatchRoutes
from engine.settings.schema import HttpSettings

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log: Final = logging.getLogger(__name__)
_OPEN_PATHS: Final = frozenset({"/health", "/ready"})
"""For whoever watches over the process: they say nothing of models, and need no key."""
_LOCAL: Final = frozenset({"localhost"})


class DoorRefused(EngineError):
    """The door can't be opened as the settings say; nothing was served over it."""


class DoorRules(Struct, frozen=True):
    """Whom the door lets in."""

    keys: KeyFile | None = None
    """None: whoever reaches it, which is admitted on loopback only."""
    hosts: frozenset[str] = frozenset()
    """Names by which it may be called, beside `localhost` and any address in figures."""
    origins: frozenset[str] = frozenset()
    """Of web pages that may ask from within a browser."""
    requests_per_key: int = 64
    max_body_bytes: int = 16 << 20


def rules_of(http: HttpSettings, keys: Path) -> DoorRules:
    """As the settings say. Raises DoorRefused for a door without keys that others than this machine could reach."""
    if http.keys == "none" and not _is_loopback(http.listen.rpartition(":")[0]):
        raise DoorRefused(
            f"http.keys is none, and {http.listen} (http.listen) can be reached from elsewhere; listen on 127.0.0.1, or leave"
            " http.keys out and make a key: citadel keys add NAME"
        )
    return DoorRules(
        KeyFile(keys) if http.keys == "required" else None,
        frozenset(host.lower() for host in http.hosts),
        frozenset(http.origins),
        http.requests_per_key,
        http.max_body_bytes,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def door_application(gateway: Gateway, rules: DoorRules) -> web.Application:
    """What is served over TCP."""
    app = web.Application(middlewares=[_door(rules)], client_max_size=rules.max_body_bytes)
    app.on_response_prepare.append(_let_pages_read(rules.origins))
    app.add_routes(gateway.routes(rules.max_body_bytes))
    return app


class Gateway:
    """What is served to applications and to those who watch over the engine, over TCP and at the engine's own socket."""

    def __init__(self, engine: EngineAPI) -> None:
        self._engine: Final = engine
        self._metrics: Final = Metrics()

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        """What happens inside is counted."""
        following = asyncio.create_task(self._metrics.follow(self._engine), name="metrics")
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def routes(self, max_body_bytes: int) -> list[web.RouteDef]:
        """All dialects. What fails is said in the one that was spoken."""
        dialects = (OpenAIRoutes(self._engine), OllamaRoutes(self._engine), WatchRoutes(self._engine, self._metrics))
        return [_spoken(route, max_body_bytes) for dialect in dialects for route in dialect.table()]


def _spoken(route: web.RouteDef, max_body_bytes: int) -> web.RouteDef:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await answered(request, cast(Handler, route.handler), max_body_bytes)

    return web.RouteDef(route.method, route.path, handler, route.kwargs)


def _let_pages_read(origins: frozenset[str]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Tells the browser that a page whose origin is let in may read the answer."""

    async def mark(request: web.Request, response: web.StreamResponse) -> None:
        if (origin := request.headers.get("Origin")) in origins:
            response.headers["Access-Control-Allow-Origin"] = origin

    return mark


def _door(rules: DoorRules) -> Middleware:
    inside: Counter[str] = Counter()

    @web.middleware
    async def pass_door(request: web.Request, handler: Handler) -> web.StreamResponse:
        dialect = dialect_of(request.path)
        if fault := _stranger(request, rules):
            return response_of(fault, dialect)
        if "Origin" in request.headers and request.method == "OPTIONS":
            return _preflight()
        try:
            key = _key(request, rules)
            if isinstance(key, Fault):
                return response_of(key, dialect)
            if inside[key] >= rules.requests_per_key:
                return response_of(_too_many(rules.requests_per_key), dialect)
            ASKER.set(Asker(key=key) if key else Asker(address=request.remote or ""))
            with _counted(inside, key):
                return await answered(request, handler, rules.max_body_bytes)
        except EngineError as error:
            return response_of(fault_of(error), dialect)

    return pass_door


async def answered(request: web.Request, handler: Handler, max_body_bytes: int) -> web.StreamResponse:
    """The handler's answer; whatever it raises, in the dialect that was spoken."""
    dialect, called = dialect_of(request.path), in_brief(f"{request.method} {request.path}")
    try:
        return await handler(request)
    except (EngineError, BadBody) as error:
        return response_of(fault_of(error), dialect)
    except web.RequestPayloadError as error:
        return response_of(Fault(400, "invalid_request_error", unpacked_words(called, error), "bad_body"), dialect)
    except web.HTTPRequestEntityTooLarge:
        most = format_size(max_body_bytes)
        return response_of(
            Fault(413, "invalid_request_error", f"the body is larger than {most}", "body_too_large"), dialect
        )
    except web.HTTPException as error:
        words = (
            f"{called}: {error.reason}; there is no such route" if error.status == 404 else f"{called}: {error.reason}"
        )
        return response_of(Fault(error.status, "invalid_request_error", words, "no_route"), dialect)
    except Exception:
        _log.exception("%s failed", called)
        words = f"the engine failed on {called}; its log has the details"
        return response_of(Fault(500, "server_error", words, "engine"), dialect)


def _stranger(request: web.Request, rules: DoorRules) -> Fault | None:
    """A page that has had its own name point here would be read by the browser as if it were ours: it comes with that name. A
    page of another origin comes with it, and would have its visitor's machine work for it."""
    host = request.url.host or ""
    if not (_is_address(host) or host.lower() in _LOCAL | rules.hosts):
        words = f"this engine is not known as {host[:100]!r}; name it under http.hosts in gpu_allocation.yaml"
        return Fault(403, "permission_error", words, "wrong_host")
    origin = request.headers.get("Origin")
    if origin is not None and origin not in rules.origins:
        words = (
            f"pages of {origin[:100]!r} may not ask this engine; name them under http.origins in gpu_allocation.yaml"
        )
        return Fault(403, "permission_error", words, "wrong_origin")
    return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _key(request: web.Request, rules: DoorRules) -> str | Fault:
    """The name of the key that the request shows; empty where none is needed. Raises KeysRefused."""
    if rules.keys is None or request.path in _OPEN_PATHS:
        return ""
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    name = rules.keys.name_of(secret.strip()) if kind.lower() == "bearer" else None
    if name is not None:
        return name
    shown = "the key is not known" if secret else "a key is needed (Authorization: Bearer …)"
    return Fault(401, "authentication_error", f"{shown}; make one with: citadel keys add NAME", "invalid_api_key")


def _too_many(most: int) -> Fault:
    words = (
        f"{most} requests of this key are under way, which is the most (http.requests_per_key); try again in a moment"
    )
    return Fault(429, "rate_limit_error", words, "too_many_requests", retry_after_s=1.0)


def _preflight() -> web.Response:
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Headers": "authorization, content-type",
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Max-Age": "600",
        },
    )


@contextmanager
def _counted(inside: Counter[str], key: str) -> Iterator[None]:
    inside[key] += 1
    try:
        yield
    finally:
        inside[key] -= 1
