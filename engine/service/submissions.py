"""Commands under way and lately ended, by the id that their client gave them, so that a resend does nothing twice."""

from __future__ import annotations

import asyncio
from typing import Final

from engine.api import Answer, EngineAPI
from engine.core.commands import Submission

KEPT: Final = 1000


class Submissions:
    """Runs each submission once, whoever waits for it and however often it is sent."""

    def __init__(self, engine: EngineAPI) -> None:
        self._engine = engine
        self._tasks: dict[str, asyncio.Task[Answer]] = {}
        """Oldest first; ended ones beyond the newest `KEPT` are forgotten."""

    async def answer(self, submission: Submission) -> Answer:
        """The submission's answer. A waiter who leaves does not take the command with them."""
        task = self._tasks.get(submission.id)
        if task is None:
            task = asyncio.create_task(self._engine.submit(submission), name=f"submission {submission.id}")
            self._tasks[submission.id] = task
            task.add_done_callback(self._forget_oldest)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel what the engine has not ended by itself."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _forget_oldest(self, ended: asyncio.Task[Answer]) -> None:
        if not ended.cancelled():
            ended.exception()  # an error that every waiter left behind is not news to asyncio
        for identity, task in list(self._tasks.items()):
            if len(self._tasks) <= KEPT:
                return
            if task.done():
                del self._tasks[identity]
