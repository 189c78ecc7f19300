"""Who is at the other end of a Unix socket connection, as the kernel says it."""

from __future__ import annotations

import os
import struct
from socket import SO_PEERCRED, SOL_SOCKET
from typing import Final, Protocol

from engine.wire import Problem

_CREDENTIALS: Final = struct.Struct("3i")
"""The kernel's `struct ucred`: pid, uid, gid."""


class PeerSocket(Protocol):
    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


def peer_uid(socket: PeerSocket) -> int:
    """User id of the process that connected."""
    _pid, uid, _gid = _CREDENTIALS.unpack(socket.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)


def foreign(uid: int) -> Problem | None:
    """Why user `uid` may not speak to this engine, or None when it is our own user."""
    if uid == os.getuid():
        return None
    return Problem("forbidden", f"this engine belongs to user {os.getuid()}, you are user {uid}; run your own")
