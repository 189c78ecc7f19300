"""The row above the keys that says that something went wrong, until it has been seen."""

from __future__ import annotations

from citadel_tui.viewmodel.dashboard.alerts import RECENT_S, Alert, alert_line, alerts, unseen
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line
from citadel_tui.widgets.scene_view import SceneView


class AlertLine(SceneView):
    """No row while nothing waits to be seen."""

    fades = False

    def __init__(self, glyphs: Glyphs, key: str) -> None:
        super().__init__(glyphs)
        self._key = key
        self._since_s: float | None = None
        self._seen: frozenset[str] = frozenset()
        self.alerts: tuple[Alert, ...] = ()
        """All there are, the seen ones too."""
        self.display = False

    def show_scene(self, scene: Scene) -> None:
        if self._since_s is None:
            self._since_s = scene.now_s - RECENT_S
        self.alerts = alerts(scene, self._since_s)
        self._seen &= {alert.id for alert in self.alerts}
        self.display = bool(unseen(self.alerts, self._seen))
        super().show_scene(scene)

    def see(self) -> None:
        """The operator has read them all."""
        self._seen = frozenset(alert.id for alert in self.alerts)
        self.display = False
        self.paint()

    def lines_for(self, scene: Scene, width: int) -> tuple[Line, ...]:
        return alert_line(unseen(self.alerts, self._seen), self._key, width, self.glyphs)
