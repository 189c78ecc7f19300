"""The console over a recorded session: the same screens, read-only, at the time that the playback shows."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from citadel_tui.app import CitadelApp
from citadel_tui.flow import StatusMessage
from citadel_tui.link import Connect
from citadel_tui.run import run_console
from citadel_tui.session.past import session_past
from citadel_tui.session.playback import Playback, RecordedEngine
from citadel_tui.settings.settings import ConsoleSettings
from citadel_tui.theme import Look
from citadel_tui.words.figures import clock_text

KEYS: Final = "space pause  , . 10 s  ctrl+arrow 60 s  < > speed"


class SessionApp(CitadelApp):
    """The console, with keys for the playback instead of those for the engine."""

    CSS_PATH = "../citadel.tcss"
    GOODBYE = None
    PAST_IS_WHOLE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        # With priority: the table and the log take space and the signs for their own, which mean little in a recorded session.
        Binding("space", "steer('pause')", show=False, priority=True),
        Binding("comma", "seek(-10)", show=False, priority=True),
        Binding("full_stop", "seek(10)", show=False, priority=True),
        Binding("ctrl+left", "seek(-60)", show=False, priority=True),
        Binding("ctrl+right", "seek(60)", show=False, priority=True),
        Binding("less_than_sign", "steer('slower')", show=False, priority=True),
        Binding("greater_than_sign", "steer('faster')", show=False, priority=True),
    ]

    def __init__(
        self,
        connect: Connect,
        look: Look,
        *,
        playback: Playback,
        read_only: bool,
        settings: ConsoleSettings,
        first: bool = False,
    ) -> None:
        super().__init__(
            connect,
            look,
            read_only=read_only,
            settings=settings,
            now=playback.now_s,
            # Between two snapshots of the session nothing grows older, however long one looks at it.
            monotonic=lambda: 0.0,
            recall=partial(session_past, playback.session),
        )
        self._playback = playback

    def on_mount(self) -> None:
        self.say(StatusMessage(f"recorded: {KEYS}", "strong"))

    def action_steer(self, how: str) -> None:
        {"pause": self._playback.pause, "slower": self._playback.slower, "faster": self._playback.faster}[how]()
        self._tell()

    def action_seek(self, seconds: int) -> None:
        self._playback.seek(seconds)
        self._tell()

    def _tell(self) -> None:
        now, end = clock_text(self._playback.now_s()), clock_text(self._playback.ends_s)
        paused = ", paused" if self._playback.paused else ""
        self.say(StatusMessage(f"recorded: {now} of {end}, {self._playback.speed:g} times as fast{paused}", "strong"))
        self._show()


def run_session(playback: Playback, *, mouse: bool) -> int:
    """Show the session until the operator leaves; the exit status."""

    async def connect() -> RecordedEngine:
        return RecordedEngine(playback)

    return run_console(connect, read_only=True, mouse=mouse, make=partial(SessionApp, playback=playback))
