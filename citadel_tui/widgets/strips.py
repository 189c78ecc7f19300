"""The rows at the dashboard's edges: the header on top; at the bottom what is said, what went wrong, the first steps and the
keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.cells import cell_len
from textual import events
from textual.message import Message

from citadel_tui.actions import Action, Registry
from citadel_tui.flow import StatusMessage
from citadel_tui.verbs import Models
from citadel_tui.viewmodel.dashboard.alerts import alert_line, alerts_of, unseen
from citadel_tui.viewmodel.dashboard.strips import header_line, jobs_line, stale_text
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.pages.help import FooterKey, action_at, footer_keys, footer_line
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span, wrapped
from citadel_tui.widgets.scene_view import SceneView
from citadel_tui.words.alerts import RECENT_S, Alert
from citadel_tui.words.boxes import banners_of
from citadel_tui.words.setup import no_models_text
from engine.core.commands import command_text


class HeaderLine(SceneView):
    """One row, or two when the engine has a banner. Never greyed: it says that the rest is old."""

    fades = False

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        header = header_line(scene, paper)
        banners = banners_of(scene.hello, scene.snapshot.boxes if scene.snapshot else {})
        return (header, *(paper.filled((Span(f" {paper.text(banner)}", "banner"),)) for banner in banners))


class FooterKeys(SceneView):
    """One row of keys, which can be clicked; verbs that the selected models do not allow are in brackets."""

    fades = False

    class Clicked(Message):
        """A key was clicked."""

        def __init__(self, action: Action) -> None:
            super().__init__()
            self.action = action

    def __init__(self, glyphs: Glyphs, actions: Registry) -> None:
        super().__init__(glyphs)
        self._actions = actions
        self._models: Models = ()
        self._keys: list[FooterKey] = []

    def select(self, models: Models) -> None:
        """The verbs are for `models` from now on."""
        if models != self._models:
            self._models = models
            self.paint()

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        self._keys = footer_keys([(a, a.why_not(scene, self._models)) for a in self._actions], paper.width)
        return (footer_line(self._keys, paper),)

    def on_click(self, event: events.Click) -> None:
        action = action_at(self._keys, event.x)
        if action is not None:
            self.post_message(self.Clicked(action))


_MESSAGE_ROWS: Final = 3


class StatusLine(SceneView):
    """One row, blank when there is nothing to say; a message that is longer has as many as it needs, up to three."""

    fades = False

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(glyphs)
        self._model: str | None = None
        self._asking: list[str] = []
        self.message: StatusMessage | None = None

    def select(self, model: str | None) -> None:
        """The operator looks at `model` now."""
        self._model = model
        self.paint()

    def say(self, message: StatusMessage | None) -> None:
        """Show a message, or take it away."""
        self.message = message
        self.paint()

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Inside, the engine has been asked for `what` and has not answered: the key that asked is answered with that."""
        self._asking.append(what)
        self.paint()
        try:
            yield
        finally:
            self._asking.remove(what)
            self.paint()

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        message = self.message or self._asked(scene) or _trouble_of_the_line(scene) or _first_step(scene)
        lines = _message_lines(message, paper) if message else (self._line(scene),)
        return tuple(map(paper.filled, lines))

    def _asked(self, scene: Scene) -> StatusMessage | None:
        """What was asked last, unless the engine tells itself how far that is."""
        if not self._asking:
            return None
        what, old = self._asking[-1], stale_text(scene)
        if not old and scene.snapshot and any(command_text(job.command) == what for job in scene.snapshot.jobs):
            return None
        return StatusMessage(f"{what}: asking" + (f"; {old}" if old else ""), "warn")

    def _line(self, scene: Scene) -> Line:
        jobs = scene.snapshot.jobs if scene.snapshot else ()
        return jobs_line(jobs, self._model, self.glyphs) or self._trouble(scene)

    def _trouble(self, scene: Scene) -> Line:
        known = scene.snapshot.state.models.get(self._model or "") if scene.snapshot else None
        return (Span(f" {self.glyphs.text(known.trouble)}", "bad"),) if known and known.trouble else ()


def _has_models(scene: Scene) -> bool:
    return scene.snapshot is not None and bool(scene.snapshot.state.models)


def _first_step(scene: Scene) -> StatusMessage | None:
    """What there is to do while the catalog is empty."""
    if scene.lost is not None or scene.hello is None or scene.snapshot is None or _has_models(scene):
        return None
    return StatusMessage(no_models_text(scene.hello.config), "warn")


def _trouble_of_the_line(scene: Scene) -> StatusMessage | None:
    return StatusMessage(text, "bad") if (text := stale_text(scene)) else None


def _message_lines(message: StatusMessage, paper: Paper) -> tuple[Line, ...]:
    text = paper.text(message.text)
    room = max(paper.width - 1, 1)
    pieces = wrapped(text, room) if cell_len(text) > room else [text]
    if len(pieces) > _MESSAGE_ROWS:
        pieces = [*pieces[: _MESSAGE_ROWS - 1], " ".join(pieces[_MESSAGE_ROWS - 1 :])]
    return tuple((Span(f" {piece}", message.role),) for piece in pieces)


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
        self.alerts = alerts_of(scene, self._since_s)
        self._seen &= {alert.id for alert in self.alerts}
        self.display = bool(unseen(self.alerts, self._seen))
        super().show_scene(scene)

    def see(self) -> None:
        """The operator has read them all."""
        self._seen = frozenset(alert.id for alert in self.alerts)
        self.display = False
        self.paint()

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        return alert_line(unseen(self.alerts, self._seen), self._key, paper)


class Welcome(SceneView):
    """Shown while nothing has been recorded yet, on an engine that nobody has used."""

    fades = False

    def __init__(self, glyphs: Glyphs, actions: Registry, *, wanted: bool) -> None:
        super().__init__(glyphs)
        self._keys = {action.id: action.key_text for action in actions}
        self._wanted = wanted
        self.display = False
        self.was_shown = False

    def show_scene(self, scene: Scene) -> None:
        self.display = self._wanted and not scene.records and _has_models(scene)
        self.was_shown = self.was_shown or self.display
        super().show_scene(scene)

    def end(self) -> None:
        """From now on it is in the way."""
        self._wanted = self.display = False

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        keys = self._keys
        lines = (
            f"up and down choose a model; {keys['load']} loads it, as a request does",
            f"{keys['details']} shows all about it; {keys['palette']} finds all that can be done",
            f"{keys['help']} explains keys and colours; {keys['quit']} leaves, and the models stay",
        )
        return tuple(paper.filled((Span(f" {line}", "strong"),)) for line in lines)
