"""For whoever watches over the engine: whether the process lives, whether it can serve, and its figures for Prometheus."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from msgspec import Struct

from engine.api import EngineAPI, EngineError, Snapshot
from engine.core.devices import condition
from engine.core.names import box_of
from engine.core.serialization import to_json
from engine.gateway.metrics import CONTENT_TYPE, Metrics

ANSWERS_WITHIN_S: Final = 1.0


class Health(Struct, frozen=True):
    """Of the process, or of what it can do."""

    status: str
    reasons: tuple[str, ...] = ()


class WatchRoutes:
    """Handlers over one engine."""

    def __init__(self, engine: EngineAPI, metrics: Metrics) -> None:
        self._engine: Final = engine
        self._metrics: Final = metrics

    def table(self) -> list[web.RouteDef]:
        """What is served where."""
        return [
            web.get("/health", self.health),
            web.get("/ready", self.ready),
            web.get("/metrics", self.metrics),
        ]

    async def health(self, _request: web.Request) -> web.Response:
        """Whoever reads the answer knows: the process lives, and its loop turns."""
        return _answer(Health("ok"), 200)

    async def ready(self, _request: web.Request) -> web.Response:
        """Whether requests can be served: the scheduler answers, and no worker hangs."""
        reasons = await self._why_not()
        return _answer(Health("not ready", reasons) if reasons else Health("ready"), 503 if reasons else 200)

    async def metrics(self, _request: web.Request) -> web.Response:
        text = self._metrics.text(await self._engine.hello(), await self._engine.snapshot())
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    async def _why_not(self) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                snapshot = await self._engine.snapshot()
        except TimeoutError:
            return (f"the engine has not answered for {ANSWERS_WITHIN_S:g} s",)
        except EngineError as error:
            return (str(error),)
        return _troubles(snapshot)


def _troubles(snapshot: Snapshot) -> tuple[str, ...]:
    """One device that is well is enough; one whose worker does not answer is too much, since requests are held up there, but not
    in a fleet, whose other boxes go on. Boxes that are not heard are told as such."""
    readings = {device: known.reading for device, known in snapshot.state.devices.items()}
    bad = {device: reading for device, reading in readings.items() if reading.health != "ok"}
    hang = {device: reading for device, reading in bad.items() if reading.health == "not answering"}
    away = {name: f"{name} is {box.standing}: {box.why}" for name, box in snapshot.boxes.items() if box.why}
    if len(bad) < len(readings):
        bad, away = {} if snapshot.boxes else hang, {}
    heard = {device: reading for device, reading in bad.items() if box_of(device) not in away}
    told = (f"{device} {condition(reading.health)}: {reading.reason}" for device, reading in heard.items())
    return *away.values(), *told


def _answer(health: Health, status: int) -> web.Response:
    return web.Response(body=to_json(health), status=status, content_type="application/json")
