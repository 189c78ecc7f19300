"""The `citadel` command, as the other commands' tests have it."""

from __future__ import annotations

from tests.cli.conftest import citadel

__all__ = ["citadel"]
