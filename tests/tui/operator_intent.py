"""What the screen shows where a key or a click will act, read just before: the only thing that the operator can mean."""

from __future__ import annotations

from typing import Any, Final

from textual.screen import Screen
from textual.widgets import Input

from citadel_tui.actions import ACTIONS, Action
from citadel_tui.screens.bench import BenchChoice, BenchConsent
from citadel_tui.screens.dashboard import Dashboard
from citadel_tui.screens.pages import DeviceDetails, Preview, ProposalScreen
from citadel_tui.screens.palette import Palette
from citadel_tui.screens.picker import Picker
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.widgets.choices import ChoiceBar
from citadel_tui.widgets.lines import LineView
from citadel_tui.widgets.lists import ModelTable
from citadel_tui.widgets.rows import RowList
from citadel_tui.widgets.strips import FooterKeys
from engine.core.names import ModelName
from engine.core.proposals import Drain, Pack
from tests.tui.auditing_engine import AuditingEngine, anything, elsewhere, nothing, said, verb_for, wish

ACTION_OF: Final = {action.key: action for action in ACTIONS}
_AGREED: Final = "Do it"


def see_key(screen: Screen[Any], key: str, engine: AuditingEngine) -> None:
    """Tells `engine` what the operator means who presses `key` on `screen`."""
    match screen:
        case Dashboard():
            action = None if isinstance(screen.focused, Input) else ACTION_OF.get(key)
            _see_action(screen, action, engine)
        case Palette() if key == "enter":
            engine.meant = said(under_cursor(screen))
        case Preview() | ProposalScreen() if key == "y" or key == "enter":
            _see_answer(screen, _AGREED if key == "y" else chosen(screen), engine)
        case _:
            _see_other(screen, engine)


def see_click(screen: Screen[Any], x: int, y: int, engine: AuditingEngine) -> None:
    """Tells `engine` what the operator means who clicks there."""
    view, region = screen.get_widget_at(x, y)
    shown = line_at(view, y - region.y)
    match screen, view:
        case Dashboard(), FooterKeys():
            _see_action(screen, action_under(shown, x - region.x), engine)
        case Palette(), RowList():
            engine.meant = said(shown[2:])
        case ((Preview() | ProposalScreen()), ChoiceBar()):
            _see_answer(screen, option_under(shown, x - region.x), engine)
        case _:
            _see_other(screen, engine)


def quits(screen: Screen[Any], x: int, y: int) -> bool:
    """Whether a click there would end the console."""
    view, region = screen.get_widget_at(x, y)
    shown = line_at(view, y - region.y)
    action = action_under(shown, x - region.x) if isinstance(view, FooterKeys) else None
    return shown[2:].startswith("quit:") or (action is not None and action.id == "quit")


def under_cursor(screen: Screen[Any]) -> str:
    """The text of the row with the cursor's mark; empty when there is none."""
    rows = screen.query_one(RowList).plain.split("\n")
    return next((row[2:] for row in rows if row.startswith(UNICODE.cursor)), "")


def shown_models(screen: Screen[Any]) -> tuple[ModelName, ...]:
    """Whom a verb is for: all that are marked, also those that the filter hides, or the one under the cursor."""
    table = screen.query_one(ModelTable)
    if table.marked:
        return table.marked
    rows = table.plain.split("\n")[2:]
    return tuple(row[2:].split()[0] for row in rows if row.startswith(UNICODE.cursor))


def chosen(screen: Screen[Any]) -> str:
    """The label of the option in brackets."""
    return str(screen.query_one(ChoiceBar).plain).partition("[")[2].partition("]")[0]


def line_at(view: object, row: int) -> str:
    lines = view.plain.split("\n") if isinstance(view, LineView) else []
    top = view.scroll_offset.y if isinstance(view, LineView) else 0
    return lines[row + top] if row + top < len(lines) else ""


def action_under(line: str, x: int) -> Action | None:
    """The action whose key and word are at `x` in the footer."""
    for action in ACTIONS:
        at = line.find(f"{action.key_text} {action.word}")
        if at >= 0 and at - 1 <= x <= at + len(action.key_text) + len(action.word) + 1:
            return action
    return None


def option_under(line: str, x: int) -> str:
    """The label, and perhaps the key, of the option at `x` in a row of options."""
    options = [option.strip(" ▸[]") for option in line.split("  ") if option.strip()]
    return next((o for o in reversed(options) if line.index(o) - 2 <= x < line.index(o) + len(o) + 2), "")


def _see_action(screen: Dashboard, action: Action | None, engine: AuditingEngine) -> None:
    if action is not None and action.verb is not None:
        engine.meant = verb_for(action.id, shown_models(screen))
    else:
        engine.meant = wish(action.wish if action is not None else None)


def _see_answer(screen: Preview | ProposalScreen, label: str, engine: AuditingEngine) -> None:
    if label.startswith(_AGREED):
        engine.agree(screen.command, screen.text)
    elif isinstance(screen, Preview):
        engine.meant = elsewhere(screen.command)


def _see_other(screen: Screen[Any], engine: AuditingEngine) -> None:
    match screen:
        case DeviceDetails():
            device = screen.query(LineView).first().plain.strip()
            engine.meant = lambda request: request in (Drain(device), Pack(device))
        case BenchChoice() | BenchConsent():
            engine.meant = anything
        case Picker():
            pass  # one of the ways of the verb that opened it
        case _:
            engine.meant = nothing
