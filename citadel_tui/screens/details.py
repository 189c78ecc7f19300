"""All about one model or one device, followed while it is open; and all about one line of the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from citadel_tui.screens.dialog import Dialog
from citadel_tui.viewmodel.device_page import device_lines
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.model_page import model_lines
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line
from citadel_tui.viewmodel.switch_page import record_lines, record_title
from citadel_tui.widgets.choices import Option
from engine.core.names import DeviceId, ModelName
from engine.core.records import Record

LinesFor: TypeAlias = Callable[[Scene, int], tuple[Line, ...]]
"""A page's lines for a scene and a width."""


class _Followed(Dialog[None]):
    """A page that is worked out again for each new scene."""

    def __init__(self, title: str, scene: Scene, lines_for: LinesFor, glyphs: Glyphs) -> None:
        self._scene = scene
        options: tuple[Option[None], ...] = (Option("Close", None),)
        super().__init__(title, lambda width: lines_for(self._scene, width), options, glyphs)

    def show_scene(self, scene: Scene) -> None:
        self._scene = scene
        self.page.muted = scene.stale
        self.page.paint()


class ModelDetails(_Followed):
    """The model's page."""

    def __init__(self, scene: Scene, model: ModelName, glyphs: Glyphs) -> None:
        super().__init__(model, scene, lambda now, width: model_lines(now, model, width, glyphs), glyphs)


class DeviceDetails(_Followed):
    """The device's page."""

    def __init__(self, scene: Scene, device: DeviceId, glyphs: Glyphs) -> None:
        super().__init__(device, scene, lambda now, width: device_lines(now, device, width, glyphs), glyphs)


class RecordDetails(Dialog[None]):
    """A switch with its waterfall, or whatever else the log line was."""

    def __init__(self, record: Record, glyphs: Glyphs) -> None:
        options: tuple[Option[None], ...] = (Option("Close", None),)
        title = record_title(record, glyphs)
        super().__init__(title, lambda width: record_lines(record, width, glyphs), options, glyphs)
