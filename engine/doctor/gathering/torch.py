"""What torch says, asked in another process: importing it here would cost seconds, and a broken one would take us along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from engine.doctor.gathering.program import ProgramFailed, output_of
from engine.doctor.machine import Torch, TorchBroken

TIMEOUT_S: Final = 120.0
"""The first import from a slow disk takes half a minute."""


async def ask_torch(environment: Mapping[str, str]) -> Torch:
    try:
        answer = await output_of("engine.doctor.programs.torch_facts", environment, TIMEOUT_S)
        torch: Torch = msgspec.json.decode(answer, type=Torch)
    except ProgramFailed as failure:
        return TorchBroken(f"the process that imported it gave no answer: {failure}")
    except msgspec.MsgspecError as error:
        return TorchBroken(f"its answer makes no sense: {error}")
    return torch
