"""All about one model, followed while it is open; and all about one line of the log."""

from __future__ import annotations

from citadel_tui.screens.dialog import Dialog
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.model_page import model_lines
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.switch_page import record_lines, record_title
from citadel_tui.widgets.choices import Option
from engine.core.names import ModelName
from engine.core.records import Record


class ModelDetails(Dialog[None]):
    """The model's page."""

    def __init__(self, scene: Scene, model: ModelName, glyphs: Glyphs) -> None:
        self._scene = scene
        options: tuple[Option[None], ...] = (Option("Close", None),)
        super().__init__(model, lambda width: model_lines(self._scene, model, width, glyphs), options, glyphs)

    def show_scene(self, scene: Scene) -> None:
        self._scene = scene
        self.page.muted = scene.stale
        self.page.paint()


class RecordDetails(Dialog[None]):
    """A switch with its waterfall, or whatever else the log line was."""

    def __init__(self, record: Record, glyphs: Glyphs) -> None:
        options: tuple[Option[None], ...] = (Option("Close", None),)
        title = record_title(record, glyphs)
        super().__init__(title, lambda width: record_lines(record, width, glyphs), options, glyphs)
