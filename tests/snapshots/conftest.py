"""Pictures must not depend on where they are taken: one time zone for all, and a scripted NVIDIA driver for the cards."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.devices.conftest import script

__all__ = ["script"]


@pytest.fixture(autouse=True)
def universal_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()
