"""Ollama's routes, one handler each: decode, ask the engine once, encode."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from engine.api import CannotServe, Done, EngineAPI, UnknownModel, why_not_done
from engine.core.commands import Load, Submission
from engine.core.model_names import model_meant, unknown_model
from engine.core.serialization import to_json
from engine.core.tasks import Embed, Generate, RunEvent, RunResult
from engine.gateway.dialect import facts_of, read_body
from engine.gateway.ollama import (
    NOT_AMONG_OPTIONS,
    NOT_AMONG_VECTOR_OPTIONS,
    NOT_FOR_OLLAMA_CHATS,
    NOT_FOR_OLLAMA_TEXTS,
    VERSION_BODY,
    Asking,
    EmbedBody,
    GenerateBody,
    LinePage,
    OllamaChatBody,
    OneEmbeddingBody,
    Options,
    ShowBody,
    VectorOptions,
    first_vector,
    loaded_of,
    rows_of,
    seconds_of,
    shown_of,
    tags_of,
)
from engine.gateway.problems import Fault, body_of
from engine.gateway.streams import send_stream

_LINES: Final = {"Content-Type": "application/x-ndjson"}
_ALIVE: Final = b"\n"


class OllamaRoutes:
    """Handlers over one engine."""

    def __init__(self, engine: EngineAPI) -> None:
        self._engine: Final = engine

    def table(self) -> list[web.RouteDef]:
        """What is served where."""
        return [
            web.get("/api/version", self.version),
            web.get("/api/tags", self.tags),
            web.get("/api/ps", self.loaded),
            web.post("/api/show", self.show),
            web.post("/api/embed", self.embed),
            web.post("/api/embeddings", self.embedding),
            web.post("/api/generate", self.generate),
            web.post("/api/chat", self.chat),
        ]

    async def version(self, _request: web.Request) -> web.Response:
        return _answer(VERSION_BODY)

    async def tags(self, _request: web.Request) -> web.Response:
        return _answer(tags_of((await self._engine.snapshot()).state))

    async def loaded(self, _request: web.Request) -> web.Response:
        return _answer(loaded_of(await self._engine.snapshot()))

    async def show(self, request: web.Request) -> web.Response:
        body = read_body(await request.read(), ShowBody, {})
        models = (await self._engine.snapshot()).state.models
        asked = body.model or body.name
        specs = {name: known.spec for name, known in models.items()}
        if (name := model_meant(specs, asked)) is None:
            raise UnknownModel(unknown_model(specs, asked))
        return _answer(shown_of(models[name]))

    async def embed(self, request: web.Request) -> web.Response:
        body = read_body(await request.read(), EmbedBody, {})
        _check_vector_options(body.options)
        task = body.asked()
        if not task.texts:
            return await self._without_prompt(body, is_chat=False)
        await self._keep_alive(body)
        ran = await self._engine.result(body.model, task)
        return _answer(await rows_of(ran), ran)

    async def embedding(self, request: web.Request) -> web.Response:
        body = read_body(await request.read(), OneEmbeddingBody, {})
        _check_vector_options(body.options)
        await self._keep_alive(body)
        ran = await self._engine.result(body.model, Embed((body.prompt,), truncate=True))
        return _answer(first_vector(ran), ran)

    async def generate(self, request: web.Request) -> web.StreamResponse:
        body = read_body(await request.read(), GenerateBody, NOT_FOR_OLLAMA_TEXTS)
        if not body.prompt:
            return await self._without_prompt(body, is_chat=False)
        task = body.asked(_options(body.options))
        return await self._write(request, body, task, is_chat=False, is_stream=body.stream)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = read_body(await request.read(), OllamaChatBody, NOT_FOR_OLLAMA_CHATS)
        if not body.messages:
            return await self._without_prompt(body, is_chat=True)
        task = body.asked(_options(body.options))
        return await self._write(request, body, task, is_chat=True, is_stream=body.stream)

    async def _write(
        self, request: web.Request, body: Asking, task: Generate, *, is_chat: bool, is_stream: bool
    ) -> web.StreamResponse:
        await self._keep_alive(body)
        page = LinePage(body.model, is_chat=is_chat)
        if not is_stream:
            ran = await self._engine.result(body.model, task)
            return _answer(page.last(ran, is_whole=True), ran)

        def pieces_of(event: RunEvent) -> Iterable[bytes]:
            if isinstance(event, RunResult):
                return [_line(page.last(event, is_whole=False))]
            line = page.line(event)
            return [] if line is None else [_line(line)]

        return await send_stream(request, self._engine.run(body.model, task), pieces_of, _last_words, _LINES, _ALIVE)

    async def _without_prompt(self, body: Asking, *, is_chat: bool) -> web.Response:
        """Ollama's way to bring a model, or to let it go with a `keep_alive` of 0."""
        page = LinePage(body.model, is_chat=is_chat)
        await self._keep_alive(body)
        if body.keep_alive is not None and seconds_of(body.keep_alive) == 0:
            return _answer(page.empty("unload"))
        done = await self._engine.submit(Submission(uuid.uuid4().hex, Load(body.model), "request"))
        if not isinstance(done, Done):
            raise CannotServe(f"{body.model} was not loaded: {why_not_done(done)}")
        return _answer(page.empty("load"))

    async def _keep_alive(self, body: Asking) -> None:
        if body.keep_alive is not None:
            await self._engine.keep_alive(body.model, seconds_of(body.keep_alive))


def _options(options: dict[str, object]) -> Options:
    """Raises BadBody."""
    return read_body(to_json(options), Options, NOT_AMONG_OPTIONS)


def _check_vector_options(options: dict[str, object]) -> None:
    """Raises BadBody."""
    read_body(to_json(options), VectorOptions, NOT_AMONG_VECTOR_OPTIONS)


def _answer(body: object, ran: RunResult | None = None) -> web.Response:
    headers = {} if ran is None else facts_of(ran)
    return web.Response(body=to_json(body), content_type="application/json", headers=headers)


def _line(body: object) -> bytes:
    return to_json(body) + b"\n"


def _last_words(fault: Fault) -> bytes:
    """Said within the stream, whose status was sent long ago."""
    return _line(body_of(fault, "ollama"))
