"""What the tests on a real card share. Without one each is skipped with its reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from transformers.utils import logging

from engine.core.sizes import MIB
from engine.worker.cuda import CudaBacking
from tests.worker.available_card import slice_of_a_card, why_no_card
from tests.worker.conftest import arena, fork_server
from tests.worker.models import Tier

__all__ = ["arena", "fork_server"]

logging.disable_progress_bar()  # type: ignore[no-untyped-call]

TIER_BYTES = 320 * MIB
LIMIT_BYTES = 2048 * MIB


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "hardware" in item.path.parts:
            item.add_marker(pytest.mark.gpu)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if reason := why_no_card():
        pytest.skip(reason)


@pytest.fixture
def tier() -> Tier:
    return Tier(TIER_BYTES)


@pytest.fixture
def backing(tier: Tier) -> Iterator[CudaBacking]:
    with slice_of_a_card(tier, LIMIT_BYTES) as backing:
        yield backing
