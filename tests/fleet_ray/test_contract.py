"""An engine behind a box's agent is an engine: what every `EngineAPI` must do, through Ray."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from engine.api import EngineAPI
from tests.fleet_ray.clusters import Boxes
from tests.scripted_engine import ScriptedEngine
from tests.service import test_contract as contract
from tests.service.serving import serving

globals().update({name: test for name, test in vars(contract).items() if name.startswith("test_")})


@pytest.fixture
async def api(boxes: Boxes) -> AsyncIterator[EngineAPI]:
    async with serving(ScriptedEngine(), boxes.paths("box1")):
        yield boxes.link("box1")
