"""The palette: every verb for every model, each device's page, and everything else that has a key, found by typing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final, TypeAlias

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from citadel_tui.actions import ACTIONS, BY_ID, VERBS, Action, choices_of
from citadel_tui.catalog_deeds import CatalogDeed
from citadel_tui.flow import WorkerOf
from citadel_tui.screens.modal import Modal
from citadel_tui.verbs import Models
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Span, cut_middle
from citadel_tui.widgets.page import Page
from citadel_tui.widgets.rows import RowList
from engine.core.commands import Command, Load, command_text
from engine.core.names import DeviceId
from engine.core.proposals import Drain, Pack, Wish

Picked: TypeAlias = Command | Wish | WorkerOf | DeviceId | Action | CatalogDeed
"""A command to carry out, what the engine is to propose, the worker to restart, the device whose page is to open, an action
without a model, or what is to be done about the catalog."""
_LISTED_OTHERWISE: Final = ("device", "palette")
_MOST_DEVICES: Final = 64
"""Of a large fleet not each model on each device is listed: the key of the verb asks where."""
_ON_NO_DEVICE: Final = ("evict", "pin")


class _Found(RowList[str]):
    """What was found, a row each. What is too long is cut in its middle: at its end it says on which device."""

    _texts: tuple[str, ...] = ()

    def list_all(self, texts: Iterable[str]) -> None:
        self._texts = tuple(texts)
        self.paint()

    def work_out(self) -> None:
        room = self.size.width - 2
        self.show_rows((), {t: (Span("  "), Span(cut_middle(t, room, self.glyphs.ellipsis))) for t in self._texts})


class Palette(Modal[Picked]):
    """Ends with what was picked."""

    AUTO_FOCUS = "Input"
    BINDINGS: ClassVar[list[BindingType]] = [
        # The line to type in has the focus, and would take these for itself.
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
    ]

    def __init__(self, scene: Scene, models: Models, glyphs: Glyphs) -> None:
        super().__init__(glyphs)
        self._offered = _offered(scene, models)
        self._list = _Found(glyphs)
        self._typed: Final = Input(restrict=r"[A-Za-z0-9._/ -]*", compact=True)

    def compose(self) -> ComposeResult:
        with Vertical(classes=f"{self.look} -narrow"):
            yield Page(
                lambda _: [(Span("Verb and model, device, or anything else", "title"),)], self._glyphs, classes="title"
            )
            self._typed.cursor_blink = False
            yield self._typed
            yield self._list

    def on_mount(self) -> None:
        self._search("")

    def on_input_changed(self, message: Input.Changed) -> None:
        self._search(message.value)

    def on_input_submitted(self) -> None:
        self._take()

    def on_row_list_opened(self) -> None:
        self._take()

    def action_move(self, rows: int) -> None:
        self._list.action_move(rows)

    def _take(self) -> None:
        picked = self._list.cursor
        self.dismiss(None if picked is None else self._offered[picked])

    def _search(self, typed: str) -> None:
        words = typed.casefold().split()
        self._list.list_all([text for text in self._offered if all(word in text.casefold() for word in words)])


def _offered(scene: Scene, models: Models) -> dict[str, Picked]:
    """What can be done now, by its text: for the marked models together, for each model, for each device, for none."""
    actions: dict[str, Picked] = {
        f"{action.word.casefold()}: {action.help}": action
        for action in ACTIONS
        if action.verb is None and action.id not in _LISTED_OTHERWISE and not action.why_not(scene, models)
    }
    if scene.snapshot is None:
        return actions
    state = scene.snapshot.state
    singly: tuple[Models, ...] = tuple((model,) for model in state.models)
    listed = tuple(action for action in VERBS if len(state.devices) <= _MOST_DEVICES or action.id in _ON_NO_DEVICE)
    commands: dict[str, Picked] = {
        command_text(choice.command): choice.command
        for group in ((models, *singly) if len(models) > 1 else singly)
        for action in listed
        if not action.why_not(scene, group)
        for choice in choices_of(action, scene, group)
    }
    if listed != VERBS and not BY_ID["load"].why_not(scene, tuple(state.models)):
        commands = {**{command_text(Load(model)): Load(model) for model in state.models}, **commands}
    devices: dict[str, Picked] = {f"{BY_ID['device'].word.casefold()} {device}": device for device in state.devices}
    if BY_ID["rebalance"].why_not(scene, ()):  # nothing may be changed from here now
        return {**commands, **devices, **actions}
    # Each box of a fleet has a catalog of its own.
    deeds: dict[str, Picked] = {} if scene.snapshot.boxes else {deed.value: deed for deed in CatalogDeed}
    return {**commands, **devices, **_wishes(scene), **actions, **deeds}


def _wishes(scene: Scene) -> dict[str, Picked]:
    """What only the palette and the devices' pages offer."""
    devices = scene.snapshot.state.devices if scene.snapshot else {}
    drains: dict[str, Picked] = {f"drain {device}": Drain(device) for device in devices}
    packs: dict[str, Picked] = {f"pack {device} free": Pack(device) for device in devices}
    workers: dict[str, Picked] = {f"restart the worker of {device}": WorkerOf(device) for device in devices}
    return {**drains, **packs, **workers, "pack whichever device is cheapest to free": Pack()}
