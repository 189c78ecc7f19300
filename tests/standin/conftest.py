"""What the tests on the stand-in share. Elsewhere each is skipped with its reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.standin.cards import STATE, Cards

GIVEN = ("STANDIN_CARDS", "STANDIN_CARD_BYTES", "STANDIN_COPY_MB_PER_S", "STANDIN_LOCK_BYTES")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if not os.environ.get(STATE):
        pytest.skip("runs on the stand-in for cards only: make standin")


@pytest.fixture
def traits() -> dict[str, str]:
    """What the cards of a test are like, as variables of the stand-in; a module or a test may say otherwise."""
    return {}


@pytest.fixture
def cards(traits: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cards:
    """Fresh cards, which the processes see that the test starts. This process keeps those that it has seen before."""
    for name in GIVEN:
        monkeypatch.delenv(name, raising=False)
    for name, value in traits.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(STATE, str(tmp_path / "cards"))
    return Cards()
