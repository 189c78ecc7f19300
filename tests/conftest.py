"""What every test may rely on: no network, no colour settings of the caller, and a Citadel home of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Before any import of Textual or transformers: both read these once.
os.environ.pop("NO_COLOR", None)
os.environ.pop("TEXTUAL_THEME", None)
os.environ["HF_HUB_OFFLINE"] = "1"

# How fast an example runs is the machine's business; pytest's timeout catches what hangs.
settings.register_profile("citadel", deadline=None)
settings.load_profile("citadel")


@pytest.fixture(autouse=True)
def citadel_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty $CITADEL_HOME, with a short path: sockets have little room. Fails what has made a console leave something out."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("CITADEL_HOME", str(home))
    yield home
    left_out = home / "state" / "console.log"
    assert not left_out.exists(), left_out.read_text(encoding="utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--endurance-s", type=float, help="have the clients of tests/endurance go on for so many seconds")
    parser.addoption("--mutations", type=int, help="damage each reader of tests/faults is given, in place of 200")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is to go on for long may take as long."""
    if seconds := config.getoption("--endurance-s"):
        for item in items:
            if "endurance" in item.path.parts:
                item.add_marker(pytest.mark.timeout(seconds + 120))
