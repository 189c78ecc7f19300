"""infinity-emb beside us, where there is an interpreter that has it: it needs older libraries than ours, so it runs in a process
of its own (`infinity_peer.py`), on the same checkpoint, with the same texts and as many threads."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Final

import msgspec

_PEER: Final = Path(__file__).with_name("infinity_peer.py")


class Infinity:
    """The peer's process."""

    def __init__(self, process: Process) -> None:
        self._process: Final = process

    async def clients_s(self, texts: list[str], clients: int) -> float:
        """Seconds until so many clients, each one text after the other, have had all of them."""
        return await self._ask({"texts": texts, "clients": clients})

    async def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def _ask(self, asked: dict[str, object]) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(asked) + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise SystemExit("infinity's process has ended; what it said is above")
        return msgspec.json.decode(line, type=float)


async def start_infinity(python: Path, folder: Path) -> Infinity:
    """Started, and warm."""
    threads = str(os.cpu_count() or 1)
    quiet = {"DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0", "HF_HUB_OFFLINE": "1"}
    environment = {
        **os.environ,
        **quiet,
        "OMP_NUM_THREADS": threads,
    }
    # Isolated: our own packages and this folder, whose `requests` would take the place of another, are no business of its.
    process = await asyncio.create_subprocess_exec(
        python, "-I", _PEER, folder, threads, stdin=PIPE, stdout=PIPE, env=environment, limit=1 << 24
    )
    peer = Infinity(process)
    await peer.clients_s(["a text to warm it"] * 8, 8)
    return peer
