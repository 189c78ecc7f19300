"""A scripted NVIDIA driver in this process, for the console over an engine with cards."""

from __future__ import annotations

from tests.devices.conftest import script

__all__ = ["script"]
