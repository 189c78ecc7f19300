"""An embedding service: FastAPI in front, the models where Citadel puts them.

    pip install citadel-tui fastapi uvicorn
    uvicorn --app-dir examples embedding_service:app
    curl -s localhost:8000/embed -H 'Content-Type: application/json' -d '{"model": "all-MiniLM-L6-v2", "texts": ["a cat"]}'

Several workers (`--workers 4`) share one engine, and so do the console and `citadel status`. Where OpenAI's routes are what you
want, no service is needed: `citadel serve --http` has them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from citadel import (
    CannotServe,
    DeadlinePassed,
    EngineAPI,
    EngineError,
    EngineUnreachable,
    Overloaded,
    Unfit,
    UnknownModel,
    connect,
)


class Texts(BaseModel):
    model: str
    texts: list[str] = Field(min_length=1)
    truncate: bool = False
    """Cut what is longer than the model reads; otherwise that is refused."""


class Vectors(BaseModel):
    model: str
    device: str
    vectors: list[list[float]]
    seconds: float
    cut: list[int]
    """Which texts were cut, counted from 0."""


@asynccontextmanager
async def with_engine(app: FastAPI) -> AsyncIterator[None]:
    """Attach to the engine, or start one; it stays when the service ends."""
    app.state.engine = await connect()
    yield
    await app.state.engine.close()


async def engine_of(request: Request) -> EngineAPI:
    engine: EngineAPI = request.app.state.engine
    return engine


Engine = Annotated[EngineAPI, Depends(engine_of)]
app = FastAPI(title="Embeddings", lifespan=with_engine)


@app.get("/models")
async def models(engine: Engine) -> dict[str, list[str]]:
    """Models by the devices they are on; those on none are loaded when they are asked for."""
    state = (await engine.snapshot()).state
    embedding = [name for name, model in state.models.items() if model.spec.task == "embedding"]
    return {name: [resident.device for resident in state.of(name)] for name in embedding}


@app.post("/embed")
async def embed(asked: Texts, engine: Engine) -> Vectors:
    made = await engine.embed(asked.model, asked.texts, truncate=asked.truncate)
    cut = [number for number, tokens in enumerate(made.tokens) if tokens.is_cut]
    return Vectors(model=made.model, device=made.device, vectors=made.vectors, seconds=made.seconds, cut=cut)


@app.exception_handler(EngineError)
async def refused(_request: Request, error: EngineError) -> JSONResponse:
    """The engine's own words, with the status that clients act on."""
    headers = {}
    match error:
        case UnknownModel():
            status = 404
        case Overloaded(retry_after_s=seconds):
            status, headers = 429, {"Retry-After": f"{max(1, round(seconds))}"}
        case DeadlinePassed():
            status = 504
        case Unfit():
            status = 422
        case CannotServe() | EngineUnreachable():
            status = 503
        case _:
            status = 500
    return JSONResponse({"error": str(error)}, status, headers)
