"""The pages and lists that open over the dashboard, each with what is known when it opens.

Screens are imported when they are first needed: the first paint must not wait for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.app import App

from citadel_tui.actions import Registry
from citadel_tui.flow import Message
from citadel_tui.link import Link
from citadel_tui.screens.dashboard import Dashboard
from citadel_tui.share import Sharing
from citadel_tui.verbs import Models
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.history import TIER
from engine.core.names import DeviceId, ModelName
from engine.core.proposals import Wish
from engine.core.records import Record

if TYPE_CHECKING:
    from citadel_tui.screens.palette import Picked


class Pages:
    """Opens them."""

    def __init__(
        self,
        app: App[int],
        link: Link,
        dashboard: Dashboard,
        actions: Registry,
        glyphs: Glyphs,
        sharing: Sharing,
    ) -> None:
        self._app = app
        self._link = link
        self._dashboard = dashboard
        self._actions = actions
        self._glyphs = glyphs
        self._sharing = sharing

    def open_record(self, record: Record) -> None:
        from citadel_tui.screens.pages import RecordDetails

        self._app.push_screen(RecordDetails(record, self._glyphs, self._sharing.label))

    def open_model(self, model: ModelName) -> None:
        from citadel_tui.screens.pages import ModelDetails

        self._app.push_screen(ModelDetails(self._link.scene(), model, self._glyphs))

    def open_device(self, device: DeviceId, then: Callable[[Wish | None], None]) -> None:
        """The page of a device, if there is one of that name, or of the RAM tier; `then` gets what it ends with."""
        from citadel_tui.screens.pages import DeviceDetails, TierDetails

        scene = self._link.scene()
        if device == TIER:
            self._app.push_screen(TierDetails(scene, self._glyphs))
        elif scene.snapshot is None or device not in scene.snapshot.state.devices:
            self._dashboard.say(Message(f"Device: there is no {device}", "warn"))
        else:
            self._app.push_screen(DeviceDetails(scene, device, self._glyphs), then)

    def open_alerts(self) -> None:
        """The alerts count as seen from then on."""
        from citadel_tui.screens.alerts import Alerts

        self._app.push_screen(Alerts(self._dashboard.read_alerts(), self._glyphs))

    def open_help(self) -> None:
        from citadel_tui.screens.help import Help

        self._app.push_screen(Help(self._actions, self._glyphs))

    def open_palette(self, models: Models, then: Callable[[Picked | None], None]) -> None:
        """`then` gets what was picked."""
        from citadel_tui.screens.palette import Palette

        self._app.push_screen(Palette(self._link.scene(), models, self._glyphs), then)
