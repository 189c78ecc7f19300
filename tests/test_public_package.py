"""`citadel`, which programs import, and the service in `examples/` that is made with it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest

import citadel
import engine.api
from citadel import EngineUnreachable, connect
from engine.paths import find_paths
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving

EXAMPLES: Final = Path(__file__).parents[1] / "examples"


def test_every_public_name_is_there() -> None:
    for name in citadel.__all__:
        assert getattr(citadel, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = citadel.nothing


def test_every_error_that_an_engine_answers_with_can_be_caught() -> None:
    errors = {
        error.__name__
        for error in vars(engine.api).values()
        if isinstance(error, type) and issubclass(error, Exception)
    }
    assert errors <= set(citadel.__all__)


async def test_connect_attaches_to_the_engine_that_runs() -> None:
    async with serving(ScriptedEngine(), find_paths(os.environ)):
        connected = await connect()
        assert len((await connected.embed("e5-small", ["a cat", "a dog"])).vectors) == 2
        await connected.close()


async def test_connect_starts_none_where_that_is_not_wanted() -> None:
    with pytest.raises(EngineUnreachable):
        await connect(start=False)


@asynccontextmanager
async def embedding_service() -> AsyncIterator[aiohttp.ClientSession]:
    """The example as its first lines say to start it; requests wait until it accepts them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor, port = listening.fileno(), listening.getsockname()[1]
        program = [
            sys.executable,
            "-m",
            "uvicorn",
            "--app-dir",
            str(EXAMPLES),
            "embedding_service:app",
            "--fd",
            f"{descriptor}",
        ]
        process = await asyncio.create_subprocess_exec(*program, pass_fds=[descriptor], stderr=subprocess.DEVNULL)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield session
    finally:
        process.terminate()
        await process.wait()


async def test_the_example_serves_vectors_and_refuses_in_the_engines_words() -> None:
    pytest.importorskip("fastapi", reason="fastapi is not installed; `make test` installs it")
    pytest.importorskip("uvicorn", reason="uvicorn is not installed; `make test` installs it")
    async with serving(ScriptedEngine(), find_paths(os.environ)), embedding_service() as service:
        async with service.post("/embed", json={"model": "e5-small", "texts": ["a cat", "a dog"]}) as answer:
            assert answer.status == 200
            made = await answer.json()
        assert (made["model"], made["device"], len(made["vectors"]), made["cut"]) == ("e5-small", "gpu0", 2, [])
        async with service.get("/models") as answer:
            models = await answer.json()
        assert models["e5-small"] == ["gpu0"]
        assert "phi-3-mini" not in models

        async with service.post("/embed", json={"model": "e5-smal", "texts": ["a cat"]}) as answer:
            assert (answer.status, "e5-smal" in (await answer.json())["error"]) == (404, True)
        async with service.post("/embed", json={"model": "phi-3-mini", "texts": ["a cat"]}) as answer:
            assert (answer.status, "is for generation" in (await answer.json())["error"]) == (422, True)
        async with service.post("/embed", json={"model": "e5-small", "texts": []}) as answer:
            assert answer.status == 422
