"""Nobody takes the stand-in for a card."""

from __future__ import annotations

from engine.client import RemoteEngine


async def test_every_screen_and_document_is_told_that_no_card_is_in_use(engine: RemoteEngine) -> None:
    assert "no NVIDIA GPU is in use" in (await engine.hello()).banner
