"""The preview of a plan: what would happen, with the safe answer chosen, and the alternatives to plan instead."""

from __future__ import annotations

from msgspec.structs import replace

from citadel_tui.screens.dialog import Dialog
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.pages.plan import plan_lines
from citadel_tui.widgets.choices import Option
from citadel_tui.words.labels import Label
from citadel_tui.words.plans import plan_text
from engine.core.commands import Command, Load, Move, command_text
from engine.core.plans import Alternative, Plan


class Preview(Dialog[Command]):
    """Ends with the plan's command, with another one to plan instead, or with None."""

    def __init__(self, plan: Plan, glyphs: Glyphs, label: Label, *, changed: bool) -> None:
        options: list[Option[Command | None]] = [Option("Cancel", None), Option("Do it", plan.command, "y")]
        options.extend(_instead(plan.command, other) for other in plan.alternatives if _steerable(plan.command))
        title = command_text(plan.command)
        super().__init__(
            f"{title[:1].upper()}{title[1:]}?",
            lambda width: plan_lines(plan, width, glyphs, changed=changed),
            tuple(options),
            glyphs,
        )
        self._plan = plan
        self._label = label

    @property
    def text(self) -> str:
        return plan_text(self._plan, self._label)

    @property
    def command(self) -> Command:
        return self._plan.command


def _steerable(command: Command) -> bool:
    """Whether the operator may name the device of this command."""
    return isinstance(command, Load | Move)


def _instead(command: Command, other: Alternative) -> Option[Command | None]:
    assert isinstance(command, Load | Move)
    return Option(f"{other.device} instead", replace(command, device=other.device))
