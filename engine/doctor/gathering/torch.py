"""What torch says, asked in another process: importing it here would cost seconds, and a broken one would take us along."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from typing import Final

from engine.child_environment import child_environment
from engine.core.serialization import Undecodable, from_json
from engine.doctor.machine import Torch, TorchBroken


class ProgramFailed(Exception):
    """The program gave no answer; the text says how it ended."""


async def output_of(module: str, environment: Mapping[str, str], timeout_s: float) -> bytes:
    """What `python -m module` printed. Raises ProgramFailed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        # the order in which NVML counts, so that an ordinal means the same card to both
        env=child_environment(environment, CUDA_DEVICE_ORDER="PCI_BUS_ID"),
    )
    try:
        out, complaint = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        raise ProgramFailed(f"no answer within {timeout_s:.0f} s") from None
    finally:
        await _end(process)
    if process.returncode:
        raise ProgramFailed(_ended(process.returncode, complaint.decode(errors="replace")))
    return out


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


def _ended(status: int, complaint: str) -> str:
    if status < 0:
        return f"it was killed by {signal.Signals(-status).name}"
    last = next((line.strip() for line in reversed(complaint.splitlines()) if line.strip()), "without a word")
    return f"it ended with status {status}: {last}"


_TIMEOUT_S: Final = 120.0
"""The first import from a slow disk takes half a minute."""


async def ask_torch(environment: Mapping[str, str]) -> Torch:
    try:
        answer = await output_of("engine.doctor.programs.torch_facts", environment, _TIMEOUT_S)
        torch: Torch = from_json(answer, Torch)
    except ProgramFailed as failure:
        return TorchBroken(f"the process that imported it gave no answer: {failure}")
    except Undecodable as error:
        return TorchBroken(f"its answer makes no sense: {error}")
    return torch
