"""The scripted driver of the tests of devices, for engines on cards."""

from __future__ import annotations

from tests.devices.conftest import clock, script

__all__ = ["clock", "script"]
