"""OpenAI's and Cohere's routes, one handler each: decode, ask the engine once, encode."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from engine.api import EngineAPI, UnknownModel
from engine.core.model_names import model_meant, unknown_model
from engine.core.serialization import to_json
from engine.core.tasks import Generate, RunEvent, RunResult
from engine.gateway.dialect import facts_of, read_body
from engine.gateway.openai import (
    NOT_FOR_CHATS,
    NOT_FOR_COMPLETIONS,
    NOT_FOR_EMBEDDINGS,
    NOT_FOR_RANKING,
    ChatBody,
    CompletionBody,
    EmbeddingsBody,
    Page,
    RerankBody,
    Writing,
    embeddings_of,
    model_list,
    ranking_of,
)
from engine.gateway.problems import Fault, body_of
from engine.gateway.streams import send_stream

_EVENTS: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_ALIVE: Final = b": still at it\n\n"
"""A comment, which every reader of such streams skips."""
_DONE: Final = b"data: [DONE]\n\n"


class OpenAIRoutes:
    """Handlers over one engine."""

    def __init__(self, engine: EngineAPI) -> None:
        self._engine: Final = engine

    def table(self) -> list[web.RouteDef]:
        """What is served where."""
        return [
            web.get("/v1/models", self.models),
            web.get("/v1/models/{model:.+}", self.model),
            web.post("/v1/embeddings", self.embeddings),
            web.post("/v1/chat/completions", self.chat),
            web.post("/v1/completions", self.completions),
            web.post("/v1/rerank", self.rerank),
            web.post("/v2/rerank", self.rerank),
        ]

    async def models(self, _request: web.Request) -> web.Response:
        hello, snapshot = await self._engine.hello(), await self._engine.snapshot()
        return _answer(model_list(snapshot.state, hello.started_at_s))

    async def model(self, request: web.Request) -> web.Response:
        hello, snapshot = await self._engine.hello(), await self._engine.snapshot()
        asked = request.match_info["model"]
        specs = {name: known.spec for name, known in snapshot.state.models.items()}
        name = model_meant(specs, asked)
        for card in model_list(snapshot.state, hello.started_at_s).data:
            if card.id == name:
                return _answer(card)
        raise UnknownModel(unknown_model(specs, asked))

    async def embeddings(self, request: web.Request) -> web.Response:
        body = read_body(await request.read(), EmbeddingsBody, NOT_FOR_EMBEDDINGS)
        ran = await self._engine.result(body.model, body.asked())
        return _answer(await embeddings_of(ran, body), ran)

    async def rerank(self, request: web.Request) -> web.Response:
        body = read_body(await request.read(), RerankBody, NOT_FOR_RANKING)
        ran = await self._engine.result(body.model, body.asked())
        return _answer(ranking_of(ran, body, body.texts()), ran)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = read_body(await request.read(), ChatBody, NOT_FOR_CHATS)
        return await self._write(request, body, body.asked(), is_chat=True)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = read_body(await request.read(), CompletionBody, NOT_FOR_COMPLETIONS)
        return await self._write(request, body, body.asked(), is_chat=False)

    async def _write(self, request: web.Request, body: Writing, task: Generate, *, is_chat: bool) -> web.StreamResponse:
        page = Page(body.model, time.time(), is_chat=is_chat, has_usage=body.stream_options.include_usage)
        if not body.stream:
            ran = await self._engine.result(body.model, task)
            return _answer(page.whole(ran), ran)

        def pieces_of(event: RunEvent) -> Iterable[bytes]:
            if isinstance(event, RunResult):
                return [*map(_event, page.last_chunks(event)), _DONE]
            chunk = page.chunk(event)
            return [] if chunk is None else [_event(chunk)]

        return await send_stream(request, self._engine.run(body.model, task), pieces_of, _last_words, _EVENTS, _ALIVE)


def _answer(body: object, ran: RunResult | None = None) -> web.Response:
    headers = {} if ran is None else facts_of(ran)
    return web.Response(body=to_json(body), content_type="application/json", headers=headers)


def _event(body: object) -> bytes:
    return b"data: " + to_json(body) + b"\n\n"


def _last_words(fault: Fault) -> bytes:
    """Said within the stream: its status was sent long ago. Clients of OpenAI's raise for an event that has `error`."""
    return _event(body_of(fault, "openai"))
