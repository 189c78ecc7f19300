"""The pages: a model, a device or the RAM tier, followed while they are open; a line of the log, alerts and help as they were
when they were opened; and the questions before something is done, in which the safe answer is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from msgspec.structs import replace

from citadel_tui.actions import Registry
from citadel_tui.flow import Wanted
from citadel_tui.screens.dialog import Dialog
from citadel_tui.share import command_of
from citadel_tui.viewmodel.dashboard.alerts import alert_lines
from citadel_tui.viewmodel.dashboard.strips import line_state
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.pages.device import device_lines
from citadel_tui.viewmodel.pages.help import help_lines
from citadel_tui.viewmodel.pages.model import model_lines
from citadel_tui.viewmodel.pages.plan import plan_lines, proposal_lines, refusal_lines
from citadel_tui.viewmodel.pages.switch import record_lines, record_title
from citadel_tui.viewmodel.pages.tier import tier_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.prose import sentences
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line
from citadel_tui.widgets.choices import Option
from citadel_tui.words.alerts import Alert
from citadel_tui.words.labels import Label
from citadel_tui.words.plans import plan_text, proposal_text, refusal_text
from citadel_tui.words.records import record_text
from engine.core.commands import Command, Load, Move, command_text
from engine.core.names import DeviceId, ModelName
from engine.core.plans import Alternative, Plan, Refusal
from engine.core.proposals import Drain, Pack, Proposal, Wish
from engine.core.records import Record

_T = TypeVar("_T")

LinesFor: TypeAlias = Callable[[Scene, Paper], tuple[Line, ...]]
"""A page's lines for a scene, on its paper."""


class _Followed(Dialog[_T]):
    """A page that is worked out again for each new scene."""

    def __init__(
        self, title: str, scene: Scene, lines_for: LinesFor, glyphs: Glyphs, more: tuple[Option[_T | None], ...] = ()
    ) -> None:
        self._scene = scene
        self._lines_for = lines_for
        super().__init__(title, self._lines, (Option("Close", None), *more), glyphs)

    def _lines(self, paper: Paper) -> tuple[Line, ...]:
        return self._lines_for(self._scene, replace(paper, colours=self._scene.colours))

    def show_scene(self, scene: Scene) -> None:
        was_stale, self._scene = self._scene.stale, scene
        self.page.muted = scene.stale
        self.page.paint()
        if scene.stale:
            self.tell(f"{line_state(scene, self._glyphs).text}; shown as it was then")
        elif was_stale:
            self.tell_of_more()


class ModelDetails(_Followed[None]):
    """The model's page."""

    def __init__(self, scene: Scene, model: ModelName, glyphs: Glyphs) -> None:
        super().__init__(model, scene, lambda now, paper: model_lines(now, model, paper), glyphs)


class DeviceDetails(_Followed[Wish]):
    """The device's page. Ends with what the engine is to propose for it, if anything."""

    def __init__(self, scene: Scene, device: DeviceId, glyphs: Glyphs) -> None:
        wishes: tuple[Option[Wish | None], ...] = (
            Option("Drain it", Drain(device), "d"),
            Option("Pack it free", Pack(device), "p"),
        )
        super().__init__(
            device,
            scene,
            lambda now, paper: device_lines(now, device, paper),
            glyphs,
            () if scene.read_only else wishes,
        )


class TierDetails(_Followed[None]):
    """The RAM tier's page."""

    def __init__(self, scene: Scene, glyphs: Glyphs) -> None:
        super().__init__("RAM tier", scene, lambda now, paper: tier_lines(now, paper), glyphs)


class RecordDetails(Dialog[None]):
    """A switch with its waterfall, or whatever else the log line was."""

    def __init__(self, record: Record, glyphs: Glyphs, label: Label) -> None:
        options: tuple[Option[None], ...] = (Option("Close", None),)
        title = record_title(record, glyphs)
        super().__init__(title, lambda paper: record_lines(record, paper), options, glyphs)
        self._record = record
        self._label = label

    @property
    def text(self) -> str:
        return record_text(self._record, self._label)

    @property
    def command(self) -> Command | None:
        return command_of(self._record)


class Alerts(Dialog[None]):
    """The list as it was when it was opened."""

    def __init__(self, alerts: tuple[Alert, ...], glyphs: Glyphs) -> None:
        options: tuple[Option[None], ...] = (Option("Close", None),)
        super().__init__("Alerts", lambda paper: alert_lines(alerts, paper), options, glyphs)


class Help(Dialog[None]):
    """Made from the registry of actions, so that it can't be wrong."""

    def __init__(self, actions: Registry, glyphs: Glyphs) -> None:
        options: tuple[Option[None], ...] = (Option("Close", None),)
        super().__init__("Help", lambda paper: help_lines(actions, paper), options, glyphs)


class Preview(Dialog[Wanted]):
    """Ends with what is wanted, with something else to plan instead, or with None."""

    def __init__(self, plan: Plan, wanted: Wanted, glyphs: Glyphs, label: Label, *, changed: bool) -> None:
        options: list[Option[Wanted | None]] = [
            Option("Cancel", None),
            Option("Do it", wanted, "y"),
            *_sooner(plan, plan.command),
        ]
        options.extend(_instead(wanted, other) for other in plan.alternatives if _steerable(plan.command))
        title = command_text(plan.command)
        super().__init__(
            f"{title[:1].upper()}{title[1:]}?",
            lambda paper: plan_lines(plan, paper, changed=changed),
            tuple(options),
            glyphs,
        )
        self._plan = plan
        self._wanted = wanted
        self._label = label

    @property
    def text(self) -> str:
        return plan_text(self._plan, self._label)

    @property
    def command(self) -> Command:
        return self._plan.command

    @property
    def ends_runs(self) -> bool:
        return self._wanted.now


def _steerable(command: Command) -> bool:
    """Whether the operator may name the device of this command."""
    return isinstance(command, Load | Move)


def _instead(wanted: Wanted, other: Alternative) -> Option[Wanted | None]:
    assert isinstance(wanted.command, Load | Move)
    elsewhere = replace(wanted.command, device=other.device)
    return Option(f"{other.device} instead", replace(wanted, command=elsewhere))


def _sooner(found: Plan | Refusal, command: Command) -> tuple[Option[Wanted | None], ...]:
    """What ending runs would do, where they hold it up: planned and shown first, like anything else."""
    return (Option("End the runs", Wanted(command, now=True), "n"),) if found.may_end_runs else ()


class RestartScreen(Dialog[bool]):
    """Ends with True when the device's worker is to be restarted."""

    def __init__(self, device: DeviceId, words: tuple[str, ...], glyphs: Glyphs) -> None:
        options: tuple[Option[bool | None], ...] = (Option("Cancel", None), Option("Do it", True, "y"))
        super().__init__(f"Restart the worker of {device}?", lambda paper: sentences(words, paper), options, glyphs)


class ProposalScreen(Dialog[Wanted]):
    """Ends with its command when it is to be done, with the same now to plan that instead, or with None."""

    def __init__(self, proposal: Proposal, glyphs: Glyphs, label: Label) -> None:
        title = command_text(proposal.command)
        options: tuple[Option[Wanted | None], ...] = (
            Option("Cancel", None),
            Option("Do it", Wanted(proposal.command), "y"),
            *_sooner(proposal.plan, proposal.command),
        )
        super().__init__(
            f"{title[:1].upper()}{title[1:]}?",
            lambda paper: proposal_lines(proposal, paper),
            options,
            glyphs,
        )
        self._proposal = proposal
        self._label = label

    @property
    def text(self) -> str:
        return proposal_text(self._proposal, self._label)

    @property
    def command(self) -> Command:
        return self._proposal.command


class RefusalScreen(Dialog[Wanted]):
    """Says what was needed, what was free, and who was in the way. Ends with what is to be planned instead, if anything."""

    def __init__(self, refusal: Refusal, glyphs: Glyphs, label: Label) -> None:
        title = f"Can't {command_text(refusal.command)}"
        options = (Option[Wanted | None]("Close", None), *_sooner(refusal, refusal.command))
        super().__init__(title, lambda paper: refusal_lines(refusal, paper), options, glyphs)
        self._refusal = refusal
        self._label = label

    @property
    def text(self) -> str:
        return refusal_text(self._refusal, self._label)

    @property
    def command(self) -> Command:
        return self._refusal.command
