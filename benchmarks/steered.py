"""What all monitors look at while they are measured: two cards, eight models, figures that change once a second.

`python -m benchmarks.steered changing|still FOLDER` serves a scripted engine where `CITADEL_HOME` says, and writes the same
memory, temperature and load into FOLDER/nvml as the script of the stand-in for NVIDIA's library, which the rivals read.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final, Literal, TypeAlias

from msgspec.structs import replace

from engine.core.sizes import MIB
from engine.core.state import State
from engine.paths import find_paths, make_folders
from engine.service.serve import serve
from tests.nvml.script import NvmlScript, ScriptedCard
from tests.scripted import ScriptedEngine
from tests.tui.scenes import busy_engine, with_requests

Mode: TypeAlias = Literal["changing", "still"]

READY: Final = "ready"
"""Printed once both can be looked at."""
MODELS: Final = 8


async def steer(mode: Mode, folder: Path) -> None:
    """Serve, and change all figures every second until stopped."""
    paths = find_paths(os.environ)
    make_folders(paths)
    engine = await busy_engine(models=MODELS)
    script = NvmlScript(folder / "nvml")
    cards = [script.card(), script.card()]
    changing = asyncio.create_task(_change(engine, cards)) if mode == "changing" else None
    try:
        await serve(engine, paths, on_ready=lambda: _tell(READY))
    finally:
        if changing is not None:
            changing.cancel()


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def _change(engine: ScriptedEngine, cards: list[ScriptedCard]) -> None:
    number = 0
    while True:
        number += 1
        state = _moved(with_requests(engine.state, number), number)
        engine.set_state(state)
        for card, device in zip(cards, ("gpu0", "gpu1"), strict=True):
            reading = state.devices[device].reading
            card.says(
                used=reading.used_bytes or 0,
                temperature_c=reading.temperature_c or 0,
                utilization_percent=reading.utilization_percent or 0,
            )
        await asyncio.sleep(1)


def _moved(state: State, number: int) -> State:
    """`state` with other programs' memory, temperature and load moved on."""
    devices = dict(state.devices)
    for at, device in enumerate(("gpu0", "gpu1")):
        known = devices[device]
        external_bytes = 16 * MIB * ((number + 3 * at) % 4)
        ours_bytes = sum(r.footprint.total_bytes for r in state.on(device))
        reading = replace(
            known.reading,
            external_bytes=external_bytes,
            used_bytes=ours_bytes + external_bytes,
            temperature_c=45 + (number + at) % 9,
            utilization_percent=(37 * number + 11 * at) % 100,
            at_s=known.reading.at_s + 1,
        )
        devices[device] = replace(known, reading=reading)
    return replace(state, devices=devices)


if __name__ == "__main__":
    chosen: Mode = "changing" if sys.argv[1] == "changing" else "still"
    asyncio.run(steer(chosen, Path(sys.argv[2])))
