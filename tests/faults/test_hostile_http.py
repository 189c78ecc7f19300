"""Whatever comes over the engine's socket, it answers in a sentence and goes on; whatever listens there, its client says so."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from engine.api import PROTOCOL, EngineAPI, EngineError
from engine.client import RemoteEngine
from engine.clock import SystemClock
from engine.core.commands import Load, Submission
from engine.core.serialization import to_json
from engine.core.tasks import Embed
from engine.paths import Paths
from engine.scheduler.board import Patience
from tests.faults.mutations import mutations
from tests.faults.raw_http import LONGEST_SAID, ask, bombard, check, post
from tests.runtime.live_engines import scripted_engine
from tests.runtime.slab_boxes import slab_box
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving

SMALL, WRITER = "all-MiniLM-L6-v2", "phi-3-mini"
BODIES: Final[tuple[tuple[str, object], ...]] = (
    ("/v1/plan", {"type": "load", "model": SMALL, "device": "gpu0", "also": False}),
    ("/v1/plan", {"type": "batch", "title": "two", "commands": [{"type": "load", "model": SMALL}, {"type": "unpin",
     "model": SMALL}]}),
    ("/v1/propose", {"type": "drain", "device": "gpu0"}),
    ("/v1/commands", {"id": "a", "command": {"type": "pin", "model": SMALL}, "confirmed": None, "now": False}),
    ("/v1/run", {"model": SMALL, "task": {"type": "embed", "texts": ["a", "b"], "dimensions": None}}),
    ("/v1/run", {"model": WRITER, "task": {"type": "generate", "prompt": [{"role": "user", "content": "a"}], "max_tokens": 4}}),
    ("/v1/keep-alive", {"model": SMALL, "seconds": 5.0}),
    ("/v1/quiet", {"for_s": 0.0}),
    ("/v1/embeddings", {"model": SMALL, "input": ["a", "b"], "encoding_format": "base64", "user": "x"}),
    ("/v1/chat/completions", {"model": WRITER, "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
     "max_tokens": 4, "temperature": 0.5, "stop": ["x"], "stream": False, "seed": 1, "n": 1}),
    ("/v1/completions", {"model": WRITER, "prompt": "a", "max_tokens": 4, "stream": True, "logprobs": None}),
    ("/v1/rerank", {"model": "nobody", "query": "a", "documents": ["b", {"text": "c"}], "top_n": 1}),
    ("/api/embed", {"model": SMALL, "input": "a", "options": {"num_ctx": 64}, "keep_alive": "5m"}),
    ("/api/generate", {"model": WRITER, "prompt": "a", "options": {"num_predict": 4, "stop": ["x"]}, "stream": False}),
    ("/api/chat", {"model": WRITER, "messages": [{"role": "user", "content": "a"}], "options": {"num_predict": 4}}),
    ("/api/show", {"model": SMALL}),
    ("/v1/slabs/m/offer", {"host": "127.0.0.1", "ports": [0, 26407]}),
    ("/v1/slabs/m/fetch", {"host": "127.0.0.1", "port": 1, "ticket": "5" * 64, "files": [{"name": "layout.json",
     "size_bytes": 9}, {"name": "slab.safetensors", "size_bytes": 7}], "layout_id": "0" * 64, "dtype": "float32", "recipe": ""}),
)  # fmt: skip


@pytest.fixture
def paths() -> Iterator[Paths]:
    with tempfile.TemporaryDirectory(prefix="citadel-") as folder:
        yield Paths(Path(folder, "run"), Path(folder, "state"), Path(folder, "cache"))


@pytest.fixture
async def engine(paths: Paths) -> AsyncIterator[EngineAPI]:
    paths.journal.mkdir(parents=True)
    patience = replace(Patience(), queue_s=0.2, in_use_s=0.1)
    slabs = slab_box(paths.run.parent / "slabs", SystemClock()).exchange
    async with scripted_engine(paths.journal, patience=patience) as box, serving(box.engine, paths, slabs):
        yield RemoteEngine(paths.socket)
    await slabs.close()


async def test_damaged_bodies_are_answered_in_words(
    engine: EngineAPI, paths: Paths, mutation_count: int, caplog: pytest.LogCaptureFixture
) -> None:
    samples = [b"%s\n%s" % (path.encode(), json.dumps(body).encode()) for path, body in BODIES]
    for path, body in BODIES:
        check(await ask(paths, post(path, json.dumps(body).encode())), path.encode())
    by_path = [sample.partition(b"\n")[2] for sample in samples]
    await bombard(
        paths, (_misplaced(*numbered) for numbered in enumerate(mutations(by_path, seed=19, count=mutation_count)))
    )

    assert (await engine.hello()).protocol
    assert "Traceback" not in caplog.text


def _misplaced(number: int, body: bytes) -> bytes:
    """The request with that body, to another body's path now and then: fields that belong elsewhere."""
    path = next(
        (p for p, sample in BODIES if body[:12] == json.dumps(sample).encode()[:12]), BODIES[number % len(BODIES)][0]
    )
    return post(path, body)


@pytest.mark.parametrize("path", ["/v1/run", "/v1/embeddings", "/api/chat", "/v2/rerank"])
async def test_a_body_that_is_not_packed_as_it_says_is_answered_in_words(
    engine: EngineAPI, paths: Paths, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    request = post(path, b"{}").replace(b"Host:", b"Content-Encoding: gzip\r\nHost:")
    answer = await ask(paths, request)

    check(answer, request)
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert f"the body of POST {path} does not come as its headers say" in answer.decode()
    assert "Traceback" not in caplog.text


async def test_damaged_requests_are_answered_in_words(
    engine: EngineAPI, paths: Paths, mutation_count: int, caplog: pytest.LogCaptureFixture
) -> None:
    samples = (
        post("/v1/plan", to_json(Load(SMALL))),
        b"GET /v1/records?limit=5 HTTP/1.0\r\nHost: localhost\r\nCitadel-Protocol: %d\r\nCitadel-Mode: read-only\r\n\r\n"
        % PROTOCOL,
        b"DELETE /v1/commands/abc%20d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /v1/models/a/b HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n",
        b"POST /v1/quiet HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'd\r\n{"for_s":0.0}\r\n0\r\n\r\n',
    )
    # Most are not whole, so that no answer comes until more does.
    await bombard(paths, mutations(samples, seed=20, count=mutation_count), waits_s=0.02)

    assert (await engine.hello()).protocol
    assert "Traceback" not in caplog.text
    assert "is no HTTP" in caplog.text


@pytest.mark.parametrize(
    ("request_line", "said"),
    [
        ("GET /v1/records?limit=" + "9" * 5000, "limit must be a whole number of at most 18 digits"),
        ("GET /v1/" + "9" * 5000, "9…: Not Found"),
        ("GET /v1/events?after=%00", "after must be a whole number"),
        ("GET /v1/models/" + "m" * 5000, "no model is named"),
        ("DELETE /v1/commands/" + "%1b%5b2J" * 10, "cancelled"),
        ("POST /v1/workers/%c2%9b%e2%80%ae/restart", r"there is no device \\u009b\\u202e"),
    ],
)
async def test_strange_addresses_are_answered_in_words(
    engine: EngineAPI, paths: Paths, request_line: str, said: str
) -> None:
    answer = await ask(paths, f"{request_line} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())

    check(answer, request_line.encode())
    assert said in answer.decode()


async def _answer_with(data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_a_client_says_of_damaged_answers_that_they_are_none(paths: Paths, mutation_count: int) -> None:
    scripted = ScriptedEngine()
    snapshot, hello = await scripted.snapshot(), await scripted.hello()
    answer = b"HTTP/1.0 200 OK\r\nCitadel-Protocol: %d\r\nContent-Type: application/json\r\n\r\n%%s" % PROTOCOL
    refusal = (
        b"HTTP/1.0 404 Not Found\r\nCitadel-Protocol: %d\r\n\r\n" % PROTOCOL
        + b'{"error":{"kind":"unknown-model","message":"no"}}\n'
    )
    samples = (
        answer % to_json(hello),
        answer % to_json(snapshot),
        refusal,
        answer % b'{"type":"text","begin":0,"text":"a"}\n',
    )
    paths.run.mkdir()
    remote, data = RemoteEngine(paths.socket), b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer_with(data, reader, writer)

    async def first_event() -> None:
        async for _event in remote.events():
            return

    server = await asyncio.start_unix_server(serve, paths.socket)
    async with server:
        calls = (
            remote.hello, remote.snapshot, remote.records, first_event, lambda: remote.result(SMALL, Embed(("a",))),
            lambda: remote.submit(Submission("a", Load(SMALL))), remote.reload,
        )  # fmt: skip
        for number, data in enumerate(mutations(samples, seed=21, count=mutation_count)):  # noqa: B007 - `serve` says it
            said = ""
            try:
                await calls[number % len(calls)]()
            except EngineError as error:
                said = str(error)
            assert len(said) < LONGEST_SAID
