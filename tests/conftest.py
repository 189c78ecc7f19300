"""What every test may rely on: no network, no colour settings of the caller, and a Citadel home of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from pytest_timeout import Settings  # type: ignore[import-untyped]

from tests.busy_machine import busy_loops
from tests.patience import Patience

# Before any import of Textual or transformers: both read these once.
os.environ.pop("NO_COLOR", None)
os.environ.pop("TEXTUAL_THEME", None)
os.environ["HF_HUB_OFFLINE"] = "1"

# How fast an example is made and runs is the machine's business; pytest's timeout catches what hangs.
settings.register_profile("citadel", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("citadel")

_BESIDE: Final = ExitStack()
"""What runs beside the tests, for as long as they do."""


@pytest.fixture(autouse=True)
def citadel_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty $CITADEL_HOME, with a short path: sockets have little room. Fails what has made a console leave something out."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("CITADEL_HOME", str(home))
    yield home
    left_out = home / "state" / "console.log"
    assert not left_out.exists(), left_out.read_text(encoding="utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--endurance-s", type=float, help="have tests/endurance and the storm go on for so many seconds")
    parser.addoption("--loaded", action="store_true", help="run beside twice as many busy loops as there are cores")
    parser.addoption("--mutations", type=int, help="damage each reader of tests/faults is given, in place of 200")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is to go on for long may take as long."""
    if seconds := config.getoption("--endurance-s"):
        for item in items:
            if "endurance" in item.path.parts or item.path.name == "test_storm.py":
                item.add_marker(pytest.mark.timeout(seconds + 120))


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--loaded") and not hasattr(config, "workerinput"):  # once, by whom the test processes are made
        _BESIDE.enter_context(busy_loops())


def pytest_unconfigure() -> None:
    _BESIDE.close()


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(settings: Settings) -> Generator[None, object, object]:
    """A test's timeout counts as a test's patience does: on a crowded machine it comes later."""
    patience = Patience(settings.timeout)
    answer = yield
    timed_out = signal.getsignal(signal.SIGALRM)
    if callable(timed_out):

        def look(number: int, frame: FrameType | None) -> None:
            if left_s := patience.left_s():
                signal.setitimer(signal.ITIMER_REAL, left_s)
            else:
                timed_out(number, frame)

        signal.signal(signal.SIGALRM, look)
    return answer
