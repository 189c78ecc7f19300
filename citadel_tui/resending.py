"""Commands over a line that may break: one whose answer was lost is sent again, under its id, once the line is back.

The engine does nothing twice for an id. An engine that took the place of the one that was asked has never heard of the id, so
it is not asked: much may have happened since the operator agreed.
"""

from __future__ import annotations

from collections.abc import Callable

from citadel_tui.flow import Message
from citadel_tui.link import Link
from engine.api import Answer, EngineAPI, EngineUnreachable
from engine.core.commands import Command, Submission, command_text
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Wish


class Resending:
    """`flow.Engine` over the link."""

    def __init__(self, link: Link, say: Callable[[Message], None]) -> None:
        self._link = link
        self._say = say

    async def plan(self, command: Command) -> Plan | Refusal:
        return await self._link.engine.plan(command)

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        return await self._link.engine.propose(wish)

    async def submit(self, submission: Submission) -> Answer:
        """The answer, however often the line breaks before it comes.

        Raises EngineUnreachable when another engine answers then, or when this one answers everything but the command.
        """
        what = command_text(submission.command)
        engine, asked, refused = self._link.engine, self._link.hello, False
        while True:
            connection = self._link.connections
            try:
                return await engine.submit(submission)
            except EngineUnreachable:
                if await _answers(engine):
                    if refused:
                        raise
                    refused = True
                    continue
            self._say(Message(f"{what}: the line broke; asking again when it is back", "warn"))
            engine, refused = await self._link.connection_after(connection), False
            if self._link.hello != asked:
                raise EngineUnreachable(
                    f"{what}: the engine that had it has ended, and another one runs; the log shows what became of it"
                )


async def _answers(engine: EngineAPI) -> bool:
    """Whether only the one call was lost, and not the line."""
    try:
        await engine.hello()
    except EngineUnreachable:
        return False
    return True
