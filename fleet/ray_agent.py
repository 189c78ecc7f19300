"""A box's agent: a process that Ray keeps on that box, and which carries bytes between the fleet's service and the box's engine.

It knows no message: what crosses is the engine's own HTTP, so that an agent of an older Citadel serves a newer one. It keeps
nothing, and the engine is no child of it: either may end without the other. Ray finishes what a caller that died had asked for;
so an answer is taken piece by piece, and one that nobody takes any more is left, which ends its run.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from engine.api import PROTOCOL, EngineError
from engine.core.serialization import to_json
from engine.paths import find_paths
from engine.transport import UnixSocket
from engine.wire import PROTOCOL_HEADER, STATUS, ErrorBody, problem_of

MORE: Final = b"+"
"""How a piece begins after which more will come."""
LAST: Final = b"."
"""How the last piece of an answer begins."""
LOST: Final = b"!"
"""All of a piece where the answer is not known here: the agent was started again meanwhile, or nobody took it for too long."""

_PIECE_BYTES: Final = 1 << 20
_TOGETHER_S: Final = 0.005
"""What an engine says so soon after its first word travels with it: most answers are whole then, and cost one call."""
_WAITS_S: Final = 5.0
"""For the next piece; then an empty one says that there is none yet."""
_UNTAKEN_S: Final = 10.0
"""After so long without a call for its next piece, an answer's caller is taken for dead."""


class Agent:
    """Of the box that it runs on. `socket` is that of the engine there; where it is left out, the one that the box's own user's
    commands would find."""

    def __init__(self, socket: str = "") -> None:
        self._engine: Final = UnixSocket(Path(socket) if socket else find_paths(os.environ).socket)
        self._answers: Final[dict[bytes, _Answer]] = {}

    async def ask(self, name: bytes, request: bytes) -> bytes:
        """Send the engine a request, and the first piece of its answer, which the caller has given a name."""
        self._answers[name] = _Answer(self._engine, request)
        return await self._piece(name, _TOGETHER_S)

    async def more(self, name: bytes) -> bytes:
        """The next piece of an answer, once there is one."""
        return await self._piece(name)

    async def leave(self, name: bytes) -> None:
        """Nobody wants the rest of an answer."""
        if answer := self._answers.pop(name, None):
            answer.end()

    async def _piece(self, name: bytes, together_s: float = 0.0) -> bytes:
        answer = self._answers.get(name)
        if answer is None:
            return LOST
        said = await answer.taken(together_s)
        if answer.is_over:
            await self.leave(name)
            return LAST + said
        loop = asyncio.get_running_loop()
        answer.untaken = loop.call_later(_UNTAKEN_S, lambda: asyncio.ensure_future(self.leave(name)))
        return MORE + said


class _Answer:
    """What the engine says to one request, as it comes."""

    def __init__(self, engine: UnixSocket, request: bytes) -> None:
        self.untaken: asyncio.TimerHandle | None = None
        self._reader: Final = asyncio.StreamReader()
        self._carrying: Final = asyncio.create_task(self._carry(engine, request))

    @property
    def is_over(self) -> bool:
        return self._reader.at_eof() or self._reader.exception() is not None

    async def taken(self, together_s: float) -> bytes:
        """What has come since it was last taken, once there is something, and what follows that within `together_s`."""
        if self.untaken:
            self.untaken.cancel()
        said = await self._within(_WAITS_S)
        while said and together_s and (more := await self._within(together_s)):
            said += more
        return said

    async def _within(self, seconds: float) -> bytes:
        """What comes within so many seconds; nothing after the end."""
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(seconds):
                return await self._reader.read(_PIECE_BYTES)
        return b""

    def end(self) -> None:
        if self.untaken:
            self.untaken.cancel()
        self._carrying.cancel()
        self._reader.feed_eof()

    async def _carry(self, engine: UnixSocket, request: bytes) -> None:
        try:
            async with engine.connect(request, self._reader):
                await asyncio.get_running_loop().create_future()  # until it is left
        except EngineError as error:
            self._reader.feed_data(_refusal(error))
            self._reader.feed_eof()


def _refusal(error: EngineError) -> bytes:
    """What an engine's service would have answered."""
    problem = problem_of(error)
    head = f"HTTP/1.0 {STATUS[problem.kind]} -\r\n{PROTOCOL_HEADER}: {PROTOCOL}\r\n\r\n"
    return head.encode() + to_json(ErrorBody(problem))
