"""Where the operator's keys become commands: pickers and pages are opened here, and each command is taken to its end.

Implements `flow.Operator` with the app's screens. Questions are asked from workers of the app, so that nothing waits for them.
"""

from __future__ import annotations

from typing import Final

from textual.app import App

from citadel_tui.actions import Action, choices_of
from citadel_tui.flow import Message, carry_out
from citadel_tui.link import Link
from citadel_tui.resending import Resending
from citadel_tui.screens.dashboard import Dashboard
from citadel_tui.viewmodel.glyphs import Glyphs
from engine.api import EngineError
from engine.core.commands import Command
from engine.core.names import DeviceId, ModelName
from engine.core.plans import Plan, Refusal

GOODBYE: Final = "The engine goes on and its models stay. `citadel` comes back to them; `citadel stop` ends the engine."


class Desk:
    """Does what the dashboard asks for. Screens are imported when they are first needed: the first paint must not wait."""

    def __init__(self, app: App[int], link: Link, dashboard: Dashboard, glyphs: Glyphs) -> None:
        self._app = app
        self._link = link
        self._dashboard = dashboard
        self._glyphs = glyphs

    def do(self, asked: Dashboard.Asked) -> None:
        """The action of a key that the dashboard does not do itself."""
        if asked.action.choices is not None:
            self._begin(asked.action, asked.model)
            return
        match asked.action.id:
            case "details":
                self._open_details(asked)
            case "help":
                self._open_help()
            case "palette":
                self._open_palette()
            case "back":
                self._app.run_worker(self._take_back(asked.model), name="taking a command back", exit_on_error=False)
            case "quit":
                self._app.exit(0, message=GOODBYE)

    # ── commands ─────────────────────────────────────────────────────────────────────────────────

    def _begin(self, action: Action, model: ModelName | None) -> None:
        """Carry a verb out for `model`, first asking how when there is more than one way."""
        scene = self._link.scene()
        why_not = action.why_not(scene, model)
        if why_not or model is None or scene.snapshot is None:
            self.say(Message(f"{action.verb}: {why_not}", "warn"))
            return
        choices = choices_of(action, scene, model)
        if len(choices) == 1:
            self._start(choices[0].command)
        elif choices:
            from citadel_tui.screens.picker import Picker

            title = f"{action.verb} {self._glyphs.text(model)}: on which device?"
            self._app.push_screen(Picker(title, choices, scene.snapshot, self._glyphs), self._start)
        else:
            self.say(Message(f"{action.verb}: no device is ready to take a model", "warn"))

    def _start(self, command: Command | None) -> None:
        if command is not None:
            self._app.run_worker(self._carry_out(command), name="the command", exit_on_error=False)

    async def _carry_out(self, command: Command) -> None:
        try:
            await carry_out(command, Resending(self._link, self.say), self)
        except EngineError as error:
            self.say(Message(str(error), "bad"))

    async def _take_back(self, model: ModelName | None) -> None:
        """Cancel what is under way for the selected model; nothing to cancel is nothing to say."""
        try:
            for job in self._link.scene().jobs_of(model or ""):
                await self._link.engine.cancel(job.id)
        except EngineError as error:
            self.say(Message(str(error), "bad"))

    # ── flow.Operator ────────────────────────────────────────────────────────────────────────────

    async def confirm(self, plan: Plan, *, changed: bool) -> Command | None:
        from citadel_tui.screens.preview import Preview

        return await self._app.push_screen_wait(Preview(plan, self._glyphs, changed=changed))

    async def read(self, refusal: Refusal) -> None:
        from citadel_tui.screens.refusal import RefusalScreen

        await self._app.push_screen_wait(RefusalScreen(refusal, self._glyphs))

    def say(self, message: Message) -> None:
        self._dashboard.say(message)

    # ── pages ────────────────────────────────────────────────────────────────────────────────────

    def _open_details(self, asked: Dashboard.Asked) -> None:
        from citadel_tui.screens.details import ModelDetails, RecordDetails

        if asked.record is not None:
            self._app.push_screen(RecordDetails(asked.record, self._glyphs))
        elif asked.model is not None:
            self._app.push_screen(ModelDetails(self._link.scene(), asked.model, self._glyphs))

    def open_device(self, device: DeviceId) -> None:
        """The page of a device, if there is one of that name."""
        scene = self._link.scene()
        if scene.snapshot is None or device not in scene.snapshot.state.devices:
            self.say(Message(f"Device: there is no {device}", "warn"))
            return
        from citadel_tui.screens.details import DeviceDetails

        self._app.push_screen(DeviceDetails(scene, device, self._glyphs))

    def _open_help(self) -> None:
        from citadel_tui.screens.help import Help

        self._app.push_screen(Help(self._glyphs))

    def _open_palette(self) -> None:
        from citadel_tui.screens.palette import Palette

        self._app.push_screen(Palette(self._link.scene(), self._glyphs), self._take)

    def _take(self, picked: Command | DeviceId | None) -> None:
        if isinstance(picked, str):
            self.open_device(picked)
        else:
            self._start(picked)
