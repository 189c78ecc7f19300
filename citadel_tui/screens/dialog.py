"""What opens over the dashboard: a title, a page that scrolls, and options of which the safe one is chosen."""

from __future__ import annotations

from typing import ClassVar, Final, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message as TextualMessage

from citadel_tui.screens.modal import Modal
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import Line, Span, cut, wrapped
from citadel_tui.widgets.choices import ChoiceBar, Option
from citadel_tui.widgets.page import MakeLines, Page
from engine.core.commands import Command

_T = TypeVar("_T")

_AROUND_THE_PAGE: Final = 8
"""Rows of the screen's edge, the border, the title and the options."""


class Dialog(Modal[_T]):
    """Ends with the result of the option taken."""

    AUTO_FOCUS = "ChoiceBar"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", show=False),
        Binding("up,k", "scroll(-1)", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown,space", "scroll(10)", show=False),
        Binding("home", "scroll(-100000)", show=False),
        Binding("end", "scroll(100000)", show=False),
        Binding("y,ctrl+y", "copy", show=False, id="copy"),
        Binding("Y", "copy_command", show=False, id="command"),
    ]

    class CopyWanted(TextualMessage):
        """The dialog is to be copied as text."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class CommandWanted(TextualMessage):
        """The shell command is to be copied that does what the dialog is about; None when there is none. `now`: it ends runs."""

        def __init__(self, command: Command | None, *, now: bool) -> None:
            super().__init__()
            self.command = command
            self.now = now

    def __init__(self, title: str, make: MakeLines, options: tuple[Option[_T | None], ...], glyphs: Glyphs) -> None:
        super().__init__(glyphs)
        self._title = title
        self._page = Page(make, glyphs, classes="body")
        self._options = options

    @property
    def page(self) -> Page:
        return self._page

    def compose(self) -> ComposeResult:
        with Vertical(classes=self.look):
            yield Page(self._title_lines, self._glyphs, classes="title")
            yield self._page
            yield ChoiceBar(self._options, self._glyphs)

    def on_resize(self, event: events.Resize) -> None:
        """The page scrolls when it is longer than what the options leave of the screen."""
        self._page.styles.max_height = max(event.size.height - _AROUND_THE_PAGE, 3)
        self.call_after_refresh(self.tell_of_more)

    @property
    def text(self) -> str:
        """What copying takes: the page, where there is nothing better."""
        return self._page.plain

    @property
    def command(self) -> Command | None:
        """What the dialog is about, if that is a command."""
        return None

    @property
    def ends_runs(self) -> bool:
        """Whether that command is to end the runs that are in its way."""
        return False

    def tell(self, text: str) -> None:
        """Show a line at the lower edge: the status line may be hidden."""
        room = self.size.width // 2
        self.query_one(".dialog").border_subtitle = Content(cut(self._glyphs.text(text), room, self._glyphs.ellipsis))

    def on_choice_bar_taken(self, message: ChoiceBar.Taken) -> None:
        self.dismiss(self._options[message.index].result)

    def on_key(self, event: events.Key) -> None:
        for option in self._options:
            if option.key and event.key == option.key:
                event.stop()
                self.dismiss(option.result)
                return
        if event.is_printable and event.key not in self.active_bindings:
            self.tell(f"{event.character} does nothing here; esc leads back")

    def action_copy(self) -> None:
        self.post_message(self.CopyWanted(self.text))

    def action_copy_command(self) -> None:
        self.post_message(self.CommandWanted(self.command, now=self.ends_runs))

    def action_scroll(self, rows: int) -> None:
        self._page.scroll_to(y=self._page.scroll_offset.y + rows, animate=False)

    def tell_of_more(self) -> None:
        """Show at the lower edge whether there is more than fits, and nothing else."""
        more = len(self._page.lines) > self._page.size.height
        self.query_one(".dialog").border_subtitle = "up and down scroll" if more else ""

    def _title_lines(self, paper: Paper) -> list[Line]:
        return [(Span(piece, "title"),) for piece in wrapped(paper.text(self._title), paper.width)]
