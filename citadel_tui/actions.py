"""Everything that a key can do, once: key bindings, footer, help and palette are all made from this registry. And the keys
themselves, as people write them and as Textual calls them, and which of them can be given to an action."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from citadel_tui import verbs
from citadel_tui.verbs import Models, Verb, WayChosen
from citadel_tui.viewmodel.scene import Scene
from engine.core.proposals import Rebalance, Undo, Wish

_SIGNS: Final = {
    "/": "slash",
    "\\": "backslash",
    "?": "question_mark",
    "!": "exclamation_mark",
    ":": "colon",
    ";": "semicolon",
    ",": "comma",
    ".": "full_stop",
    "-": "minus",
    "+": "plus",
    "=": "equals_sign",
    "*": "asterisk",
    "_": "underscore",
    "'": "apostrophe",
    '"': "quotation_mark",
    "#": "number_sign",
    "%": "percent_sign",
    "&": "ampersand",
    "@": "at",
    "$": "dollar_sign",
    "<": "less_than_sign",
    ">": "greater_than_sign",
    "(": "left_parenthesis",
    ")": "right_parenthesis",
    "[": "left_square_bracket",
    "]": "right_square_bracket",
    "{": "left_curly_bracket",
    "}": "right_curly_bracket",
    "|": "vertical_line",
    "~": "tilde",
    "^": "circumflex_accent",
    "`": "grave_accent",
    "esc": "escape",
}
_WRITTEN: Final = {name: sign for sign, name in _SIGNS.items()}
_OTHERS: Final = r"[A-Za-z]|f([1-9]|1[0-2])|ctrl\+[abdefgknortuvwxy]|space|insert|delete|backspace|enter|tab"
"""Not among them: ctrl+c, ctrl+l, ctrl+q and ctrl+z, which are the console's own; ctrl+s and ctrl+p, which terminals and docker
take; ctrl+h, ctrl+i, ctrl+j and ctrl+m, which arrive as other keys."""
KEY_PATTERN: Final = f"({'|'.join(map(re.escape, _SIGNS))}|{_OTHERS})"
"""Any key that can be given to an action, as people write it."""
KEYS_ALLOWED: Final = "a letter, a sign such as ; or /, space, insert, delete, backspace, f1 to f12, ctrl+letter"
TAKEN: Final = ("j", "k", "home", "end", "enter", "tab", "escape", "ctrl+p", "ctrl+y", *"0123456789")
"""Keys that move about, and those of the actions whose keys are fixed."""


def key_id(written: str) -> str | None:
    """What Textual calls the key, or None when there is no such key, or none that arrives everywhere."""
    return _SIGNS.get(written, written) if re.fullmatch(KEY_PATTERN, written) else None


def key_text(key: str) -> str:
    """The key as a person writes it."""
    return _WRITTEN.get(key, key)


class Action(Struct, frozen=True):
    """Something that the operator can do with one key."""

    id: str
    key: str
    """As Textual calls it; `0-9` stands for each digit."""
    word: str
    """In footer and palette."""
    help: str
    verb: Verb | None = None
    """For what changes where the selected models are."""
    wish: Wish | None = None
    """For what the engine is to propose."""
    acts: bool = False
    """Whether it has the engine, or the machine that it runs on, do something, besides verbs and wishes."""
    footer: bool = True

    @property
    def key_text(self) -> str:
        """The key as a person writes it."""
        return key_text(self.key)

    def why_not(self, scene: Scene, models: Models) -> str:
        """Why it can't be done now for the selected `models`, in words; empty when it can."""
        if self.verb is None and self.wish is None and not self.acts:
            return ""
        if scene.read_only:
            return "this console is read-only"
        if scene.lost is not None or scene.snapshot is None:
            return "there is no line to the engine"
        if self.acts and scene.snapshot.boxes:
            return "this is done on one box, in its own console"
        if self.verb is not None:
            return verbs.why_not(self.verb, scene.snapshot, models)
        nothing = isinstance(self.wish, Undo) and not scene.snapshot.state.changes
        return "there is nothing to take back" if nothing else ""


ACTIONS: Final = (
    Action("load", "l", "Load", "make the model ready on a device, or on one more", verbs.LOAD),
    Action("evict", "e", "Evict", "take the model off every device, or one copy off its own", verbs.EVICT),
    Action("pin", "p", "Pin", "never make the model a victim; again: let it be one", verbs.PIN),
    Action("cpu", "c", "CPU", "run the model on the CPU; again: back to a GPU", verbs.FORCE_CPU),
    Action("move", "m", "Move", "make the model ready on another device", verbs.MOVE),
    Action("rebalance", "r", "Rebalance", "propose moves that pay back, with gain and cost of each", wish=Rebalance()),
    Action("undo", "u", "Undo", "take the last change back, after showing what that would do", wish=Undo()),
    Action("bench", "b", "Bench", "measure how long switches take, and put everything back", acts=True),
    Action(
        "advice",
        "a",
        "Advice",
        "what would save switching and waiting, tried on recorded requests",
        acts=True,
        footer=False,
    ),
    Action("find", "slash", "Find", "show only models with these words: parts of names, state: on: pin: task: dtype:"),
    Action("mark", "space", "Mark", "mark the model, or no longer; the next verb is for all that are marked"),
    Action("sort", "s", "Sort", "sort the table by the next column"),
    Action("order", "o", "Order", "turn the order of the table around", footer=False),
    Action(
        "device", "0-9", "Device", "all about gpu0 to gpu9: budget, health, other programs; the palette has the CPU"
    ),
    Action("tier", "t", "Tier", "all about the RAM tier: what is kept, why, and what goes first"),
    Action(
        "devices",
        "d",
        "Devices",
        "show the devices that there is no room for, then the next ones; esc folds them again",
        footer=False,
    ),
    Action(
        "requests",
        "i",
        "Requests",
        "who asks for what now, like top: model, device, age, how far; x cancels one",
        footer=False,
    ),
    Action("graphs", "g", "Graphs", "show or hide the graphs of memory and of switches over time"),
    Action("timeline", "w", "Timeline", "who was on which device when, and what each change cost"),
    Action("colours", "v", "Colours", "the next set of colours: dark, light, the terminal's own", footer=False),
    Action(
        "copy", "y", "Copy", "copy the row's figures, the log line or the page; ctrl+y where y answers", footer=False
    ),
    Action("command", "Y", "Command", "copy the shell command that would do the same", footer=False),
    Action("picture", "S", "Picture", "save a picture of the screen as SVG, and say where", footer=False),
    Action("alerts", "exclamation_mark", "Alerts", "read what went wrong; it stays announced until then", footer=False),
    Action("details", "enter", "Details", "all about the model, or the switch in the log", footer=False),
    Action("other", "tab", "Table/log", "go from the table to the log and back", footer=False),
    Action("palette", "colon", "Palette", "find any verb for any model, a device, or anything here (also ctrl+p)"),
    Action(
        "back",
        "escape",
        "Back",
        "close, clear the filter, unmark; then, asking once, take back the selected model's load under way",
        footer=False,
    ),
    Action("help", "question_mark", "Help", "this page"),
    Action("quit", "q", "Quit", "leave the console; the engine and its models stay"),
)

BY_ID: Final = {action.id: action for action in ACTIONS}
Registry: TypeAlias = tuple[Action, ...]
VERBS: Final = tuple(action for action in ACTIONS if action.verb is not None)
DEVICE_IDS: Final = tuple(f"gpu{digit}" for digit in "0123456789")
"""The devices whose page a digit opens."""


def with_keys(keys: Mapping[str, str]) -> Registry:
    """The registry with other keys for the actions of these ids."""
    return tuple(replace(action, key=keys.get(action.id, action.key)) for action in ACTIONS)


def choices_of(action: Action, scene: Scene, models: Models) -> tuple[WayChosen, ...]:
    """The ways to carry `action` out for `models` on what is known now."""
    return verbs.choices(action.verb, scene.snapshot, models) if action.verb and scene.snapshot else ()
