"""The alerts in full; who has opened this has seen them."""

from __future__ import annotations

from citadel_tui.screens.dialog import Dialog
from citadel_tui.viewmodel.dashboard.alerts import Alert, alert_lines
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.widgets.choices import Option


class Alerts(Dialog[None]):
    """The list as it was when it was opened."""

    def __init__(self, alerts: tuple[Alert, ...], glyphs: Glyphs) -> None:
        options: tuple[Option[None], ...] = (Option("Close", None),)
        super().__init__("Alerts", lambda width: alert_lines(alerts, width, glyphs), options, glyphs)
