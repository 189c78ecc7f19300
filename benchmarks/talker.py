"""A worker that only talks: each run says a word every so many seconds, so long as it was asked for, at a pace that no card has.

A process of its own, as workers are, without torch; `benchmarks.stream_row` has an engine believe in it.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from typing import Final

from msgspec import Struct

from engine.core.tasks import Continuation, Generate, TextPart
from engine.worker.framing import encode_frame, receive
from engine.worker.protocol import Failure, LeaveRun, Ready, Run, RunEnded, RunPart, ToWorker

WORD: Final = " word"


class Talk(Struct):
    """A run under way."""

    id: int
    tokens: int
    due_s: float
    said: int = 0


class Talker:
    """Serves one engine's stream."""

    def __init__(self, stream: socket.socket, pace_s: float) -> None:
        self._stream: Final = stream
        self._pace_s: Final = pace_s
        self._talks: Final[dict[int, Talk]] = {}

    def serve(self) -> None:
        """Until the engine closes its end."""
        self._stream.sendall(encode_frame(Ready(0, "none")))
        while True:
            wait_s = min((talk.due_s for talk in self._talks.values()), default=float("inf")) - time.monotonic()
            readable, _, _ = select.select([self._stream], [], [], None if wait_s == float("inf") else max(0.0, wait_s))
            if readable and not self._hear():
                return
            for talk in [talk for talk in self._talks.values() if talk.due_s <= time.monotonic()]:
                self._say(talk)

    def _hear(self) -> bool:
        match receive(self._stream, ToWorker):
            case Run(id=id_, task=Generate(max_tokens=tokens)):
                # Each begins at a moment of its own, as the runs of several models do.
                phase_s = id_ * 0.618034 % 1 * self._pace_s
                self._talks[id_] = Talk(id_, tokens, time.monotonic() + phase_s)
            case LeaveRun(run):
                if self._talks.pop(run, None):
                    self._stream.sendall(encode_frame(Failure(run, "left", "nobody waited for it any more")))
            case None:
                return False
            case other:
                raise SystemExit(f"the talker was asked for {other}")
        return True

    def _say(self, talk: Talk) -> None:
        self._stream.sendall(encode_frame(RunPart(talk.id, TextPart(len(WORD) * talk.said, WORD))))
        talk.said += 1
        talk.due_s += self._pace_s
        if talk.said == talk.tokens:
            del self._talks[talk.id]
            self._stream.sendall(encode_frame(RunEnded(talk.id, Continuation(WORD * talk.tokens, talk.tokens))))


if __name__ == "__main__":
    Talker(socket.socket(fileno=int(sys.argv[1])), float(sys.argv[2])).serve()
