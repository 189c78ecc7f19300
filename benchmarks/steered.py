"""What all monitors look at while they are measured: cards, eight models, figures that change once a second.

`python -m benchmarks.steered changing|still CARDS FOLDER` serves a scripted engine where `CITADEL_HOME` says, and writes the same
memory, temperature and load into FOLDER/nvml as the script of the stand-in for NVIDIA's library, which the rivals read. With
BOXES behind that it serves a scripted fleet of so many, each with so many cards, where a fleet's service is looked for.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final, Literal, TypeAlias

from engine.lock import sole_engine
from engine.paths import find_paths, fleet_paths
from engine.service.serve import serve
from tests.fleet_snapshots import ScriptedFleet, busy_places, fleet_state
from tests.nvml.script import NvmlScript, ScriptedCard
from tests.pty.moving_figures import cards_of, moved, requests_moved
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import FARING, busy_engine, with_gpus

Mode: TypeAlias = Literal["changing", "still"]

READY: Final = "ready"
"""Printed once both can be looked at."""
MODELS: Final = 8
MODELS_OF_A_FLEET: Final = 40


async def steer(mode: Mode, cards: int, folder: Path, boxes: int = 0) -> None:
    """Serve, and change all figures every second until stopped."""
    paths = find_paths(os.environ)
    script = NvmlScript(folder / "nvml")
    scripted = [script.card() for _ in range(cards)]
    if boxes:
        paths = fleet_paths(paths)
        engine: ScriptedEngine = ScriptedFleet(
            fleet_state(boxes, cards, MODELS_OF_A_FLEET, busy_places(boxes, cards, MODELS_OF_A_FLEET))
        )
    else:
        engine = await busy_engine(models=MODELS)
        engine.set_state(with_gpus(engine.state, cards))
    changing = asyncio.create_task(_change(engine, scripted)) if mode == "changing" else None
    try:
        with sole_engine(paths) as lock:
            await serve(engine, paths, lock, on_ready=lambda: _tell(READY))
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
        state = moved(engine.state, number)
        figures = requests_moved(FARING, number)
        if isinstance(engine, ScriptedFleet):
            engine.request_figures = figures  # a fleet's service tells all of it at once
            engine.set_state(state)
        else:
            engine.set_state(state)
            engine.set_requests(figures)
        for card, device in zip(cards, cards_of(state), strict=False):
            reading = state.devices[device].reading
            card.says(
                used=reading.used_bytes or 0,
                temperature_c=reading.temperature_c or 0,
                utilization_percent=reading.utilization_percent or 0,
                power_mw=round(1000 * (reading.power_w or 0)),
            )
        await asyncio.sleep(1)


if __name__ == "__main__":
    chosen: Mode = "changing" if sys.argv[1] == "changing" else "still"
    asyncio.run(steer(chosen, int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 0))
