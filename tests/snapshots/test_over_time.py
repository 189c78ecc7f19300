"""The graphs of half an hour as pictures, without the rest of the dashboard."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from textual.app import App, ComposeResult

from citadel_tui.theme import THEMES
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE, Glyphs
from citadel_tui.viewmodel.history import BUCKET_S, GraphHistory, with_snapshot
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.widgets.bars import OverTime
from engine.core.sizes import MIB
from tests.scripted_plans import START_S
from tests.snapshots.test_screens import Compare
from tests.tui.busy_engines import busy_engine

USED_MIB = (120, 120, 300, 480, 480, 540, 540, 600, 90, 90, 620, 640)
"""Of gpu0, over and over, five buckets each."""


async def half_an_hour() -> Scene:
    engine = await busy_engine()
    snapshot, history = await engine.snapshot(), GraphHistory()
    gpu0 = snapshot.state.devices["gpu0"]
    for bucket in range(180):
        used = USED_MIB[bucket // 5 % len(USED_MIB)] * MIB
        devices = {**snapshot.state.devices, "gpu0": replace(gpu0, reading=replace(gpu0.reading, used_bytes=used))}
        looked_at = replace(snapshot, state=replace(snapshot.state, devices=devices))
        history = with_snapshot(history, looked_at, START_S + bucket * BUCKET_S)
    return Scene(START_S, None, snapshot, await engine.records(), history=history)


class OnlyGraphs(App[None]):
    CSS_PATH = "../../citadel_tui/citadel.tcss"

    def __init__(self, scene: Scene, glyphs: Glyphs) -> None:
        super().__init__()
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = "citadel"
        self._scene = scene
        self._graphs = OverTime(glyphs, "on")

    def compose(self) -> ComposeResult:
        yield self._graphs

    def on_ready(self) -> None:
        self._graphs.fit(self.size)
        self._graphs.show_scene(self._scene)


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 36), (200, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_graphs_look_as_they_did(snap_compare: Compare, size: tuple[int, int], glyphs: Glyphs) -> None:
    assert snap_compare(OnlyGraphs(asyncio.run(half_an_hour()), glyphs), terminal_size=size)
