"""How much damage is done."""

from __future__ import annotations

import pytest


@pytest.fixture
def mutation_count(request: pytest.FixtureRequest) -> int:
    """Of each reader: enough to be worth its time in the suite; with `--mutations` as many as were asked for."""
    count: int | None = request.config.getoption("--mutations")
    return count or 300
