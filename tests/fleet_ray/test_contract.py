"""An engine behind a box's agent is an engine, and the line to it is a link: what both must do, through Ray."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from types import ModuleType

import pytest

from engine.api import EngineAPI
from tests.fleet import test_links
from tests.fleet.test_links import SMALL, Far
from tests.fleet_ray.clusters import Boxes
from tests.scripted_engine import ScriptedEngine
from tests.scripted_slabs import CarryingEngine
from tests.service import test_contract
from tests.service.serving import serving


def _tests_of(module: ModuleType, fixture: str) -> Iterator[tuple[str, object]]:
    """Those that are about whatever the fixture gives."""
    for name, test in vars(module).items():
        if name.startswith("test_") and fixture in inspect.signature(test).parameters:
            yield name, test


globals().update({**dict(_tests_of(test_contract, "api")), **dict(_tests_of(test_links, "far"))})


@pytest.fixture
async def api(boxes: Boxes) -> AsyncIterator[EngineAPI]:
    async with serving(ScriptedEngine(), boxes.paths("box1")):
        yield boxes.link("box1")


@pytest.fixture
async def far(boxes: Boxes) -> AsyncIterator[Far]:
    engine, paths = CarryingEngine({SMALL}), boxes.paths("box2")
    async with serving(engine, paths):
        yield Far(engine, boxes.link("box2"), paths)


async def test_where_a_box_is_reached_is_known_from_ray(far: Far, boxes: Boxes) -> None:
    await far.link.hello()  # from then on this process is a driver
    assert await boxes.link("box1").reached_at() == "127.0.0.1"
    assert await boxes.link("box9").reached_at() == ""
