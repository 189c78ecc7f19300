"""Rows about texts to embed: many clients beside one request, a lone text beside the bare model, bulks and those who leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from statistics import median
from typing import Final

from benchmarks.asked import Asked, Sample, timed, together
from benchmarks.infinity import Infinity
from engine.core.names import ModelName

_CLIENTS: Final = 64
_EACH: Final = 4
_LONE: Final = 10
_LEAVERS: Final = 60
_SPINNING_S: Final = 0.05
"""torch's threads in this process go on looking for work after a bare run, on the processors that the engine's worker needs."""


async def burst(asked: Asked, model: ModelName) -> dict[str, Sample]:
    """64 single texts at once, and one request of the same 64."""
    texts = asked.texts(model, _CLIENTS)

    async def singles_s() -> float:
        return await timed(together(*(asked.engine.embed(model, [text]) for text in texts)))

    async def one_s() -> float:
        return await timed(asked.engine.embed(model, texts))

    one, singles = await _both_ways(one_s, singles_s)
    return {"burst": Sample(one / singles, {"one request": one, "64 singles": singles})}


async def kept_up(asked: Asked, model: ModelName) -> dict[str, Sample]:
    """64 clients that ask one text after the other, and as many texts in requests of 64."""
    one_s, clients_s = await _both_ways(partial(_one_s, asked, model), partial(_clients_s, asked, model))
    return {"kept-up": Sample(one_s / clients_s, {"requests of 64": one_s, "64 clients": clients_s})}


async def beside_peer(asked: Asked, model: ModelName, peer: Infinity) -> dict[str, Sample]:
    """64 clients of ours and of the peer, on the same texts."""
    texts = asked.texts(model, _CLIENTS * _EACH)
    clients_s, peer_s = await _both_ways(partial(_clients_s, asked, model), partial(peer.clients_s, texts, _CLIENTS))
    return {"peer": Sample(peer_s / clients_s, {"ours": clients_s, "infinity": peer_s})}


async def lone(asked: Asked, model: ModelName) -> dict[str, Sample]:
    """A text on an idle engine and on the bare model, in turn; and 64 in one request."""
    bare, ours_s, bare_s = asked.encoders[model], list[float](), list[float]()
    for text in asked.texts(model, _LONE, seed=1):
        await asyncio.sleep(_SPINNING_S)
        ours_s.append(await timed(asked.engine.embed(model, [text])))
        await asyncio.sleep(_SPINNING_S)
        bare_s.append(bare.embed_s([text]))
    texts = asked.texts(model, _CLIENTS)
    ours_64_s, bare_64_s = await timed(asked.engine.embed(model, texts)), bare.embed_s(texts)
    return {
        "lone": Sample(median(ours_s) / median(bare_s), {"engine": median(ours_s), "bare": median(bare_s)}),
        "lone-64": Sample(ours_64_s / bare_64_s, {"engine": ours_64_s, "bare": bare_64_s}),
    }


async def behind_bulk(asked: Asked, model: ModelName) -> dict[str, Sample]:
    """Short requests, one after the other with pauses, while a bulk is under way; and the bulk alone."""
    rows = 400 if asked.is_quick else 2000
    bulk = asked.texts(model, rows, seed=2)
    alone_s = await timed(asked.engine.embed(model, bulk))
    lone_s = await _lone_s(asked, model)
    importing = asyncio.create_task(timed(asked.engine.embed(model, bulk)))
    await _until_leased(asked, model)
    waits_s = list[float]()
    while not importing.done():
        waits_s.append(await timed(asked.engine.embed(model, ["a short one"])))
        await asyncio.sleep(alone_s / 20)
    beside_s = await importing
    await asked.until_idle()
    return {
        "behind-bulk": Sample(median(waits_s) / lone_s, {"behind": median(waits_s), "lone": lone_s}),
        "bulk-meanwhile": Sample(alone_s / beside_s, {"alone": alone_s, "beside": beside_s}),
    }


async def leavers(asked: Asked, model: ModelName) -> dict[str, Sample]:
    """60 clients ask for 32 texts each and give up; one who comes then waits."""
    lone_s = await _lone_s(asked, model)
    texts = asked.texts(model, 32, seed=3)
    impatient = [asyncio.create_task(asked.engine.embed(model, texts)) for _ in range(_LEAVERS)]
    await _until_leased(asked, model)
    for one in impatient:
        one.cancel()
    await asyncio.gather(*impatient, return_exceptions=True)
    patient = asyncio.create_task(timed(asked.engine.embed(model, ["a patient one"])))
    await asyncio.sleep(1.0)
    left = await asked.leases(model) - (not patient.done())
    patient_s = await patient
    await asked.until_idle()
    return {
        "leases-left": Sample(float(left)),
        "patient": Sample(patient_s / lone_s, {"patient": patient_s, "lone": lone_s}),
    }


async def _both_ways(one: Callable[[], Awaitable[float]], other: Callable[[], Awaitable[float]]) -> tuple[float, float]:
    """The seconds of each, by turns, so that neither is always the first after a pause."""
    times_s = [await one(), await other(), await other(), await one()]
    return (times_s[0] + times_s[3]) / 2, (times_s[1] + times_s[2]) / 2


async def _one_s(asked: Asked, model: ModelName) -> float:
    began_s = time.perf_counter()
    for number in range(_EACH):
        await asked.engine.embed(model, asked.texts(model, _CLIENTS, seed=number))
    return time.perf_counter() - began_s


async def _clients_s(asked: Asked, model: ModelName) -> float:
    texts = iter(asked.texts(model, _CLIENTS * _EACH))
    return await timed(together(*(_client(asked, model, texts) for _ in range(_CLIENTS))))


async def _client(asked: Asked, model: ModelName, texts: Iterable[str]) -> None:
    for text in texts:
        await asked.engine.embed(model, [text])


async def _lone_s(asked: Asked, model: ModelName) -> float:
    return median([await timed(asked.engine.embed(model, ["a short one"])) for _ in range(5)])


async def _until_leased(asked: Asked, model: ModelName) -> None:
    while not await asked.leases(model):  # noqa: ASYNC110 - the engine's own news come only four times a second
        await asyncio.sleep(0.001)
