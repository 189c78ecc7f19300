"""What the engine and its fork server say to each other: one datagram each, over a pair of sequenced-packet sockets."""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Struct

from engine.worker.protocol import WorkerConfig

MAX_MESSAGE_BYTES: Final = 1 << 16


class Fork(Struct, frozen=True):
    """Make a worker. Two descriptors come along: its end of the stream, and the RAM tier's memory file."""

    ticket: int
    config: WorkerConfig


class Forked(Struct, frozen=True, tag="forked"):
    ticket: int
    pid: int


class Exited(Struct, frozen=True, tag="exited"):
    pid: int
    status: int
    """As `os.waitstatus_to_exitcode` has it: negative for a signal."""


FromServer: TypeAlias = Forked | Exited
