"""The command and the scripted engine that it talks to, as the other commands' tests have them."""

from __future__ import annotations

from tests.cli.conftest import citadel, engine

__all__ = ["citadel", "engine"]
