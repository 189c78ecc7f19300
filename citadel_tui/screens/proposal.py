"""The preview of what the engine proposes, with the safe answer chosen."""

from __future__ import annotations

from citadel_tui.screens.dialog import Dialog
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.proposal_page import proposal_lines
from citadel_tui.widgets.choices import Option
from citadel_tui.words.labels import Label
from citadel_tui.words.plans import proposal_text
from engine.core.commands import Command, command_text
from engine.core.proposals import Proposal


class ProposalScreen(Dialog[bool]):
    """Ends with True when it is to be done."""

    def __init__(self, proposal: Proposal, glyphs: Glyphs, label: Label) -> None:
        title = command_text(proposal.command)
        options: tuple[Option[bool | None], ...] = (Option("Cancel", None), Option("Do it", True, "y"))
        super().__init__(
            f"{title[:1].upper()}{title[1:]}?", lambda width: proposal_lines(proposal, width, glyphs), options, glyphs
        )
        self._proposal = proposal
        self._label = label

    @property
    def text(self) -> str:
        return proposal_text(self._proposal, self._label)

    @property
    def command(self) -> Command:
        return self._proposal.command
