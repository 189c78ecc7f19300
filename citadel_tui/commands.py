"""Where the operator's keys become deeds: each command is taken to its end, and what only shows something is opened.

Implements `flow.Operator` with the app's screens. Questions are asked from workers of the app, so that nothing waits for them.
Screens are imported when they are first opened: a console that only watches must not pay for them when it starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from textual.app import App

from citadel_tui.actions import Action, Registry, choices_of
from citadel_tui.catalog_deeds import CatalogDeed, CatalogDeeds
from citadel_tui.flow import StatusMessage, Wanted, WorkerOf, carry_out, fulfil
from citadel_tui.link import Link, ReliableEngine
from citadel_tui.screens.dashboard import Dashboard
from citadel_tui.screens.modal import Modal
from citadel_tui.share import Sharing
from citadel_tui.theme import next_theme
from citadel_tui.type_ahead import TypeAhead
from citadel_tui.verbs import Models
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.history import TIER
from citadel_tui.words.plans import restart_words
from engine.api import EngineError, JobView, Snapshot
from engine.core.commands import Command, command_text
from engine.core.names import DeviceId, ModelName, box_of, within_box
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Drain, Pack, Proposal, Rebalance, Undo, Wish, wish_text
from engine.core.records import Record

if TYPE_CHECKING:
    from citadel_tui.bench.benchmark import Benchmark
    from citadel_tui.screens.palette import Picked

_T = TypeVar("_T")


class _Asked(ReliableEngine):
    """Keys wait for what it answers where a page is made of that."""

    def __init__(self, link: Link, say: Callable[[StatusMessage], None], typed: TypeAhead) -> None:
        super().__init__(link, say)
        self._typed = typed

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        with self._page_due():
            return await super().plan(command, now=now)

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        with self._page_due():
            return await super().propose(wish)

    def _page_due(self) -> AbstractContextManager[None]:
        """Of an engine that gives no sign of life nobody knows when; keys are answered all the same."""
        return nullcontext() if self._link.scene().stale else self._typed.page_due()


class Commands:
    """Does what the dashboard, the palette and the pages ask for."""

    def __init__(
        self,
        app: App[int],
        link: Link,
        dashboard: Dashboard,
        actions: Registry,
        glyphs: Glyphs,
        sharing: Sharing,
        typed: TypeAhead,
    ) -> None:
        self._app = app
        self._link = link
        self._dashboard = dashboard
        self._actions = actions
        self._glyphs = glyphs
        self._sharing = sharing
        self._typed = typed
        self._engine = _Asked(link, self.say, typed)
        self._benchmark: Benchmark | None = None
        self._question = asyncio.Lock()
        self._offered: tuple[JobView, ...] = ()
        """What is taken back when the operator presses escape once more."""

    async def put_back(self) -> None:
        """End a benchmark under way; returns when everything is where it was."""
        if self._benchmark is not None:
            await self._benchmark.stop()

    def do(self, asked: Dashboard.Asked) -> None:
        """The action of a key that the dashboard does not do itself."""
        why_not = asked.action.why_not(self._link.scene(), asked.models)
        if why_not and asked.action.verb is not None and not asked.models:
            why_not = f"{why_not}; a verb is for a row that is on the screen"
        if why_not:
            self.say(StatusMessage(f"{asked.action.word}: {why_not}", "warn"))
        elif asked.action.verb is not None:
            self._begin(asked.action, asked.models)
        elif asked.action.wish is not None:
            self._wish(asked.action.wish)
        else:
            self._do_without_the_engine(asked)

    def _do_without_the_engine(self, asked: Dashboard.Asked) -> None:
        match asked.action.id:
            case "details" if asked.record is not None:
                self.open_record(asked.record)
            case "details" if asked.models:
                self._open_model(asked.models[0])
            case "help":
                self._open_help()
            case "timeline":
                self._open_timeline()
            case "palette":
                self._open_palette(asked.models)
            case "tier":
                self.open_device(TIER)
            case "alerts":
                self._open_alerts()
            case "requests":
                self._open_requests()
            case "bench":
                self._measure(asked.models)
            case "advice":
                self._advise()
            case "copy":
                self._sharing.copy_selection(asked.models, asked.record)
            case "command":
                self._sharing.copy_command(asked.models, asked.record)
            case "picture":
                self._sharing.take_picture()
            case "colours":
                self._app.theme = next_theme(self._app.theme)
            case "back":
                self._take_back_or_offer(asked.models)

    # ── what is opened ───────────────────────────────────────────────────────────────────────────

    def _open(self, page: Modal[_T], then: Callable[[_T | None], None] | None = None) -> None:
        """Open the page, unless one of its kind is open; `then` takes what it ends with."""
        if not any(type(screen) is type(page) for screen in self._app.screen_stack):
            self._app.push_screen(page, then)

    def _open_palette(self, models: Models) -> None:
        """Every verb and page, of which one is taken."""
        from citadel_tui.screens.palette import Palette

        self._open(Palette(self._link.scene(), models, self._glyphs), self._take)

    def open_device(self, device: DeviceId) -> None:
        """The page of a device, if there is one of that name, or of the RAM tier, and what is to be proposed there."""
        from citadel_tui.screens.pages import DeviceDetails, TierDetails

        scene = self._link.scene()
        if device == TIER:
            self._open(TierDetails(scene, self._glyphs))
        elif scene.snapshot is not None and scene.snapshot.boxes and not box_of(device):
            self._ask_which_box(scene.snapshot, device)
        elif scene.snapshot is None or device not in scene.snapshot.state.devices:
            self.say(StatusMessage(f"Device: there is no {device}", "warn"))
        else:
            self._open(DeviceDetails(scene, device, self._glyphs), self._wish)

    def _ask_which_box(self, snapshot: Snapshot, device: DeviceId) -> None:
        """A digit stands for a device of each box."""
        from citadel_tui.screens.picker import DevicePicker

        there = [name for name in snapshot.state.devices if within_box(name) == device]
        if there:
            self._open(DevicePicker(f"{device}: of which box?", there, snapshot, self._glyphs), self._take)
        else:
            self.say(StatusMessage(f"Device: no box has a {device}", "warn"))

    def _open_model(self, model: ModelName) -> None:
        from citadel_tui.screens.pages import ModelDetails

        self._open(ModelDetails(self._link.scene(), model, self._glyphs))

    def open_record(self, record: Record) -> None:
        """The page of a line of the log."""
        from citadel_tui.screens.pages import RecordDetails

        self._open(RecordDetails(record, self._glyphs, self._sharing.label))

    def _open_timeline(self) -> None:
        from citadel_tui.screens.timeline import TimelinePage

        self._open(TimelinePage(self._link.scene(), self._glyphs))

    def _open_alerts(self) -> None:
        """The alerts count as seen from then on."""
        from citadel_tui.screens.pages import Alerts

        self._open(Alerts(self._dashboard.read_alerts(), self._glyphs))

    def _open_requests(self) -> None:
        from citadel_tui.screens.requests import RequestsPage

        self._open(RequestsPage(self._link, self._sharing.label, self._glyphs))

    def _open_help(self) -> None:
        from citadel_tui.screens.pages import Help

        self._open(Help(self._actions, self._glyphs))

    def _take(self, picked: Picked | None) -> None:
        match picked:
            case None:
                return
            case str():
                self.open_device(picked)
            case Action():
                self._dashboard.action_act(picked.id)
            case WorkerOf(device):
                self._run(self._restart(device), f"restart the worker of {device}")
            case Rebalance() | Drain() | Pack() | Undo():
                self._wish(picked)
            case CatalogDeed():
                self._run(CatalogDeeds(self._app, self._link, self.say, self._glyphs).do(picked))
            case _:
                self._start(picked)

    # ── what the engine does ─────────────────────────────────────────────────────────────────────

    def _begin(self, action: Action, models: Models) -> None:
        """Carry a verb out for `models`, first asking how when there is more than one way."""
        scene = self._link.scene()
        choices = choices_of(action, scene, models)
        if len(choices) == 1:
            self._start(choices[0].command)
        elif choices and scene.snapshot is not None:
            from citadel_tui.screens.picker import Picker

            whom = self._glyphs.text(models[0]) if len(models) == 1 else f"{len(models)} models"
            question = "on which device?" if action.id in ("load", "move") else "which way?"
            picker = Picker(f"{action.word} {whom}: {question}", choices, scene.snapshot, self._glyphs)
            self._open(picker, self._start)
        else:
            self.say(StatusMessage(f"{action.word}: no device is ready to take a model", "warn"))

    def _start(self, command: Command | None) -> None:
        if command is not None:
            self._run(carry_out(command, self._engine, self), command_text(command))

    def _wish(self, wish: Wish | None) -> None:
        if wish is not None:
            self._run(fulfil(wish, self._engine, self), wish_text(wish))

    def _run(self, deed: Coroutine[None, None, None], what: str = "") -> None:
        self._app.run_worker(self._to_its_end(deed, what), name="the command", exit_on_error=False)

    async def _to_its_end(self, deed: Coroutine[None, None, None], what: str) -> None:
        """`what` is named when it comes to nothing: other keys may have been pressed since."""
        try:
            await deed
        except EngineError as error:
            self.say(StatusMessage(f"{what}: {error}" if what else str(error), "bad"))

    def _take_back_or_offer(self, models: Models) -> None:
        """Escape closes whatever is open, and is pressed once more than there was to close: it says first what it would end."""
        if self._dashboard.offers:
            self._run(self._take_back(self._offered), "taking it back")
            return
        scene = self._link.scene()
        jobs = {job.id: job for model in models for job in scene.jobs_of(model)}
        self._offered = tuple(jobs.values())
        if jobs:
            what = "; ".join(command_text(job.command) for job in self._offered)
            self._dashboard.offer(StatusMessage(f"{what}: under way; esc again takes it back", "warn"))

    async def _take_back(self, jobs: tuple[JobView, ...]) -> None:
        for job in jobs:
            with self.asking(f"taking back {command_text(job.command)}"):
                taken = await self._link.engine.cancel(job.id)
            outcome = "is being taken back" if taken else "too late to take it back"
            self.say(StatusMessage(f"{command_text(job.command)}: {outcome}", "text" if taken else "warn"))

    async def _restart(self, device: DeviceId) -> None:
        """Another worker for the device, once the operator has agreed to what that does to whatever is there."""
        snapshot = self._link.scene().snapshot
        words = restart_words(snapshot.state, device, str) if snapshot is not None else ()
        if words:
            from citadel_tui.screens.pages import RestartScreen

            if not await self._answer(RestartScreen(device, words, self._glyphs)):
                return
        with self.asking(f"restart the worker of {device}"):
            await self._link.engine.restart_worker(device)
        self.say(StatusMessage(f"the worker of {device} was restarted", "good"))

    def _advise(self) -> None:
        from citadel_tui.screens.advice import AdvicePage, own_advice

        scene = self._link.scene()
        if scene.snapshot is not None and scene.hello is not None:
            ask = partial(own_advice, scene.snapshot.state, scene.hello.policy)
            self._open(AdvicePage(ask, self._glyphs))

    def _measure(self, models: Models) -> None:
        from citadel_tui.bench.benchmark import Benchmark

        self._benchmark = self._benchmark or Benchmark(
            self._app, self._link, self.say, self._glyphs, self._typed.page_due
        )
        self._app.run_worker(self._benchmark.run(models), name="the benchmark", exit_on_error=False)

    # ── flow.Operator ────────────────────────────────────────────────────────────────────────────

    async def confirm(self, plan: Plan, wanted: Wanted, *, changed: bool) -> Wanted | None:
        from citadel_tui.screens.pages import Preview

        preview = Preview(plan, wanted, self._glyphs, self._sharing.label, changed=changed)
        return await self._answer(preview)

    async def agree(self, proposal: Proposal) -> Wanted | None:
        from citadel_tui.screens.pages import ProposalScreen

        return await self._answer(ProposalScreen(proposal, self._glyphs, self._sharing.label))

    async def read(self, refusal: Refusal) -> Wanted | None:
        from citadel_tui.screens.pages import RefusalScreen

        return await self._answer(RefusalScreen(refusal, self._glyphs, self._sharing.label))

    async def _answer(self, page: Modal[_T]) -> _T | None:
        """What the operator says to a question: one at a time, and none over something else that is open, where a key that is
        meant for that would answer it."""
        async with self._question:
            await self._dashboard.until_on_top()
            return await self._app.push_screen_wait(page)

    def say(self, message: StatusMessage) -> None:
        self._dashboard.say(message)

    def asking(self, what: str) -> AbstractContextManager[None]:
        return self._dashboard.asking(what)
