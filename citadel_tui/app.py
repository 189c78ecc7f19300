"""The console: an app that follows the engine over one link, shows the newest scene, and takes commands to their end.

It never blocks on the engine: the link and every command are workers of the app, which outlive whatever screen is open.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from shlex import join
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeAlias, runtime_checkable

from msgspec.structs import replace
from rich.console import RenderableType
from textual import events
from textual._styles_cache import StylesCache
from textual.app import App
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from citadel_tui.actions import with_keys
from citadel_tui.commands import Commands
from citadel_tui.faults import Unpainted
from citadel_tui.flow import StatusMessage
from citadel_tui.link import Connect, Link
from citadel_tui.screens.dashboard import Dashboard, keys_of
from citadel_tui.screens.dialog import Dialog
from citadel_tui.settings.settings import AT_FIRST, ConsoleSettings
from citadel_tui.share import Sharing, sequence
from citadel_tui.terminal.driver import TerminalDriver
from citadel_tui.theme import THEMES, Look, colours_of
from citadel_tui.timeline.chronicle import Chronicle
from citadel_tui.type_ahead import TypeAhead
from citadel_tui.uncollected import uncollected
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.widgets.lines import LineView
from citadel_tui.widgets.too_small import LEAST_COLUMNS, LEAST_ROWS
from citadel_tui.words.alerts import Alert
from citadel_tui.words.figures import clock_text

if TYPE_CHECKING:
    from citadel_tui.screens.timeline import TimelinePage

Recall: TypeAlias = Callable[[], Chronicle]
"""Gives what is recorded of the past, in a thread. Raises OSError."""
HAND_OVER_S: Final = 0.25
"""Least time between two scenes that are shown because the engine changed."""


@runtime_checkable
class ShowsScene(Protocol):
    """A screen that follows what goes on."""

    def show_scene(self, scene: Scene) -> None: ...


class CitadelApp(App[int]):
    """The console over whatever engine `connect` finds."""

    TITLE = "citadel"
    CSS_PATH = "citadel.tcss"
    ENABLE_COMMAND_PALETTE = False
    GOODBYE: ClassVar[str | None] = (
        "The engine goes on and its models stay. `citadel` comes back to them; `citadel stop` ends the engine."
    )
    PAST_IS_WHOLE: ClassVar[bool] = False
    """Whether what is recalled reaches to the end of all that is shown, as in a recorded session."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+z", "suspend_process", show=False),
        Binding("ctrl+l", "repaint", show=False, priority=True),
        Binding("ctrl+c,ctrl+q", "leave", show=False, priority=True),
    ]
    AT_ONCE: ClassVar[frozenset[str]] = frozenset({"ctrl+z", "ctrl+l", "ctrl+c", "ctrl+q"})
    """Keys that wait for nothing, and act on a screen of any size."""

    def __init__(
        self,
        connect: Connect,
        look: Look,
        *,
        read_only: bool,
        settings: ConsoleSettings = AT_FIRST,
        first: bool = False,
        now: Callable[[], float] = time.time,
        recall: Recall | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        program: tuple[str, ...] = ("citadel",),
    ) -> None:
        # Textual chooses how to leave colours out before it knows the theme, and paints black on black.
        super().__init__(driver_class=TerminalDriver, ansi_color=True if "NO_COLOR" in os.environ else None)
        self.HORIZONTAL_BREAKPOINTS = [(0, "-too-narrow"), (LEAST_COLUMNS, "-wide-enough")]
        self.VERTICAL_BREAKPOINTS = [(0, "-too-low"), (LEAST_ROWS, "-high-enough")]
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self._theme_at_first = look.theme
        self.link = Link(connect, now, read_only=read_only, monotonic=monotonic)
        self.crash: Exception | None = None
        self._now = now
        self._recall = recall
        self._gone: Alert | None = None
        self._settings = settings
        actions = with_keys(settings.keys)
        self.set_keymap({action.id: keys_of(action) for action in actions if action.id in settings.keys})
        self._dashboard = Dashboard(look.glyphs, actions, settings, first=first)
        self._program = program
        self._sharing = Sharing(self, self._say_on_top, self.link, look.glyphs, program)
        self._typed = TypeAhead(self, partial(super().on_event), self.say)
        self._commands = Commands(self, self.link, self._dashboard, actions, look.glyphs, self._sharing, self._typed)
        self._quit_key = next(action.key for action in actions if action.id == "quit")
        self._unpainted = Unpainted()
        self._paints = False
        self._frame_lost = False
        self._shown_since_tick = False

    @property
    def settings(self) -> ConsoleSettings:
        """As the operator has them now."""
        chosen = (
            replace(self._settings, colours=colours_of(self.theme))
            if self.theme != self._theme_at_first
            else self._settings
        )
        return self._dashboard.as_left(chosen)

    @property
    def welcomed(self) -> bool:
        """Whether this was somebody's first console; the settings that are left behind end that."""
        return self._dashboard.welcomed

    def pop_screen(self) -> AwaitComplete:
        """Close the screen on top. Textual remembers what each of a thousand widgets was painted from, long after they closed."""
        StylesCache.get_inner_outer.cache_clear()
        return super().pop_screen()

    def get_default_screen(self) -> Screen[Any]:
        return self._dashboard

    def on_mount(self) -> None:
        self.run_worker(self.link.run(), name="link", exit_on_error=False)
        self.run_worker(self._hand_over(), name="hand over", exit_on_error=False)
        self.run_worker(self._typed.run(), name="keys", exit_on_error=False)
        self._tick()
        # After ctrl+z and fg the terminal holds the shell's lines; Textual alone repaints only when the size has changed.
        self.app_resume_signal.subscribe(self, lambda _: self.refresh())
        if not self.is_headless:
            self._leave_on_signals()

    # ── showing ──────────────────────────────────────────────────────────────────────────────────

    def on_resize(self, event: events.Resize) -> None:
        """A terminal that was resized there and back has lost what it showed; Textual repaints only where it finds another size
        than that which the screen is laid out for."""
        if self.screen_stack and event.size == self.screen.size:
            self.action_repaint()

    def action_repaint(self) -> None:
        """Write the whole screen again, since something else may have written over it."""
        if isinstance(self._driver, TerminalDriver):
            self._driver.forget()
        self.refresh()

    async def _hand_over(self) -> None:
        """Show what is new at once, but not more often than four times a second."""
        while True:
            await self.link.changed.wait()
            self.link.changed.clear()
            self._show()
            self._shown_since_tick = True
            await asyncio.sleep(HAND_OVER_S)

    def _tick(self) -> None:
        """Move the clock with the seconds, and all that grows older, unless that has been shown since the last."""
        if self._shown_since_tick:
            self._dashboard.show_clock(self.link.scene())
        else:
            self._show()
        self._shown_since_tick = False
        if self._frame_lost:
            self._frame_lost = False
            self.action_repaint()
        # Just behind the full second: a timer that is early by a hair would show the old one, and the next a second later.
        self.set_timer(1.001 - self._now() % 1, self._tick)

    def _show(self) -> None:
        self.link.remember()
        scene = self.link.scene()
        if scene.gone is not None and scene.gone != self._gone:
            self._gone = scene.gone
            self._tell_of(scene.gone)
        for screen in self.screen_stack:
            if isinstance(screen, ShowsScene):
                with self._painting():
                    screen.show_scene(scene)

    def _tell_of(self, gone: Alert) -> None:
        """Say what went with an engine; not over what is said of a command that did, which names it, too."""
        if self._dashboard.said is None or self._dashboard.said.role != "bad":
            since = clock_text(gone.until_s or 0.0)
            self._say_on_top(StatusMessage(f"another engine runs since {since}; {gone.text}", "bad"))

    # ── painting ─────────────────────────────────────────────────────────────────────────────────

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Write a frame; whatever breaks costs that frame, and not the console."""
        with self._painting():
            super()._display(screen, renderable)

    @contextmanager
    def _painting(self) -> Iterator[None]:
        self._paints = True
        try:
            yield
        except Exception as error:
            self._leave_out(error)
        finally:
            self._paints = False

    def on_line_view_broke(self, message: LineView.Broke) -> None:
        self._leave_out(message.error)

    def _leave_out(self, error: Exception) -> None:
        # The whole screen is written again with the next second, not at once: it may break again.
        self._frame_lost = True
        if (told := self._unpainted.add(error)) is not None:
            self.say(StatusMessage(told, "bad"))

    # ── typing ───────────────────────────────────────────────────────────────────────────────────

    @property
    def too_small(self) -> bool:
        """Whether the screen shows nothing but that it is."""
        return self.size.width < LEAST_COLUMNS or self.size.height < LEAST_ROWS

    async def on_event(self, event: events.Event) -> None:
        """Keys wait for the page that they are typed for; where the screen is too small nobody sees what they would do."""
        comes_in = isinstance(event, events.InputEvent | events.Paste) and not event.is_forwarded
        if not comes_in or (isinstance(event, events.Key) and event.key in self.AT_ONCE):
            await super().on_event(event)
        elif self.too_small:
            self._typed.drop()
            if isinstance(event, events.Key) and event.key == self._quit_key:
                self.action_leave()
        elif isinstance(event, events.Key | events.Paste):
            self._typed.add(event)
        else:
            await super().on_event(event)

    # ── doing ────────────────────────────────────────────────────────────────────────────────────

    def on_dashboard_asked(self, asked: Dashboard.Asked) -> None:
        if asked.action.id == "quit":
            self.action_leave()
        else:
            self._commands.do(asked)

    def on_dashboard_device_wanted(self, wanted: Dashboard.DeviceWanted) -> None:
        self._commands.open_device(wanted.device)

    async def on_past_wanted(self) -> None:
        """Somebody looks at the past: read what is recorded of it, once."""
        recall, self._recall = self._recall, None
        if recall is not None:
            self.run_worker(self._recalled(recall), name="the past", exit_on_error=False)

    async def _recalled(self, recall: Recall) -> None:
        await self.link.connection_after(0)
        try:
            with uncollected():
                past = await asyncio.to_thread(recall)
        except OSError as error:
            self.say(
                StatusMessage(f"{error.filename} can't be read: {error.strerror}; the timeline begins here", "warn")
            )
            return
        self.link.take_past(past, whole=self.PAST_IS_WHOLE)
        self._show()

    def on_timeline_page_record_wanted(self, wanted: TimelinePage.RecordWanted) -> None:
        self._commands.open_record(wanted.record)

    def on_dialog_copy_wanted(self, wanted: Dialog.CopyWanted) -> None:
        self._sharing.copy(wanted.text)

    def on_dialog_command_wanted(self, wanted: Dialog.CommandWanted) -> None:
        self._sharing.copy_line(wanted.command, now=wanted.now)

    def say(self, message: StatusMessage) -> None:
        """Show a line until it has been seen."""
        self._dashboard.say(message)

    def _say_on_top(self, message: StatusMessage) -> None:
        self.say(message)
        if isinstance(self.screen, Dialog):
            self.screen.tell(message.text)

    def copy_to_clipboard(self, text: str) -> None:
        """Have the terminal copy `text`, through tmux or screen where the console runs in one."""
        self._clipboard = text
        if self._driver is not None:
            self._driver.write(sequence(text, os.environ))

    def action_picture(self) -> None:
        self._sharing.take_picture()

    def action_leave(self) -> None:
        elsewhere = f"The engines go on and their models stay. `{join(self._program)}` comes back to them."
        self._leave(0, self.GOODBYE if self._program == ("citadel",) else elsewhere)

    def _leave(self, status: int, message: str | None = None) -> None:
        self.run_worker(self._put_back_and_exit(status, message), name="leaving", exit_on_error=False)

    async def _put_back_and_exit(self, status: int, message: str | None) -> None:
        await self._commands.put_back()
        self.exit(return_code=status, message=message)

    # ── breaking ─────────────────────────────────────────────────────────────────────────────────

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A worker that fails must be heard of: the link's failure ends the app, a command's is shown."""
        if event.state is not WorkerState.ERROR or event.worker.error is None:
            return
        error = event.worker.error
        if event.worker.name in ("link", "hand over", "keys"):
            raise RuntimeError(f"the {event.worker.name} worker broke") from error
        self.say(StatusMessage(f"{event.worker.name} broke: {type(error).__name__}: {error}", "bad"))

    def _handle_exception(self, error: Exception) -> None:
        if self._paints:
            self._leave_out(error)
            return
        self.crash = self.crash or error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Textual would print the trace with the values of all variables; `run.py` writes it to a file instead."""
        self._close_messages_no_wait()

    def _leave_on_signals(self) -> None:
        # Not by `loop.add_signal_handler` alone: it hears of a signal through the pipe that wakes the loop for each key. While
        # the loop waits for a line that nobody reads, a few hundred keys fill that pipe, and the signal would be lost.
        loop = asyncio.get_running_loop()

        def leave(number: int, _frame: object) -> None:
            loop.call_soon_threadsafe(self._leave, 128 + number)

        for number in (signal.SIGTERM, signal.SIGHUP):
            # Wakes the loop, also where the kernel has given the signal to another thread.
            loop.add_signal_handler(number, lambda: None)
            signal.signal(number, leave)
