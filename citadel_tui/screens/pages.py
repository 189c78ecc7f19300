"""All about one model, one device or the RAM tier, followed while it is open; and all about one line of the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from citadel_tui.screens.dialog import Dialog
from citadel_tui.share import command_of
from citadel_tui.viewmodel.pages.device import device_lines
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.pages.model import model_lines
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line
from citadel_tui.viewmodel.pages.switch import record_lines, record_title
from citadel_tui.viewmodel.pages.tier import tier_lines
from citadel_tui.widgets.choices import Option
from citadel_tui.words.labels import Label
from citadel_tui.words.records import record_text
from engine.core.commands import Command
from engine.core.names import DeviceId, ModelName
from engine.core.proposals import Drain, Pack, Wish
from engine.core.records import Record

T = TypeVar("T")

LinesFor: TypeAlias = Callable[[Scene, int], tuple[Line, ...]]
"""A page's lines for a scene and a width."""


class _Followed(Dialog[T]):
    """A page that is worked out again for each new scene."""

    def __init__(
        self, title: str, scene: Scene, lines_for: LinesFor, glyphs: Glyphs, more: tuple[Option[T | None], ...] = ()
    ) -> None:
        self._scene = scene
        super().__init__(title, lambda width: lines_for(self._scene, width), (Option("Close", None), *more), glyphs)

    def show_scene(self, scene: Scene) -> None:
        self._scene = scene
        self.page.muted = scene.stale
        self.page.paint()


class ModelDetails(_Followed[None]):
    """The model's page."""

    def __init__(self, scene: Scene, model: ModelName, glyphs: Glyphs) -> None:
        super().__init__(model, scene, lambda now, width: model_lines(now, model, width, glyphs), glyphs)


class DeviceDetails(_Followed[Wish]):
    """The device's page. Ends with what the engine is to propose for it, if anything."""

    def __init__(self, scene: Scene, device: DeviceId, glyphs: Glyphs) -> None:
        wishes: tuple[Option[Wish | None], ...] = (
            Option("Drain it", Drain(device), "d"),
            Option("Pack it free", Pack(device), "p"),
        )
        super().__init__(
            device,
            scene,
            lambda now, width: device_lines(now, device, width, glyphs),
            glyphs,
            () if scene.read_only else wishes,
        )


class TierDetails(_Followed[None]):
    """The RAM tier's page."""

    def __init__(self, scene: Scene, glyphs: Glyphs) -> None:
        super().__init__("RAM tier", scene, lambda now, width: tier_lines(now, width, glyphs), glyphs)


class RecordDetails(Dialog[None]):
    """A switch with its waterfall, or whatever else the log line was."""

    def __init__(self, record: Record, glyphs: Glyphs, label: Label) -> None:
        options: tuple[Option[None], ...] = (Option("Close", None),)
        title = record_title(record, glyphs)
        super().__init__(title, lambda width: record_lines(record, width, glyphs), options, glyphs)
        self._record = record
        self._label = label

    @property
    def text(self) -> str:
        return record_text(self._record, self._label)

    @property
    def command(self) -> Command | None:
        return command_of(self._record)
