"""An engine that has lived through the night, and goes on with what is there in the morning."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from engine.core.state import Resident
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import measured
from tests.timeline.night import BEGAN_S, BGE, E5, PHI, Night

NOW: Final = 1405.0
"""When the night is looked at."""


def whole_night(began_s: float = BEGAN_S) -> Night:
    """PHI and E5 on gpu0, BGE in PHI's place, a load that fails, a worker that dies, a restart, and two models that chase each
    other off gpu1 until one of them answers for long."""
    night = Night(began_s)
    night.started()
    night.look(0)
    night.load(60, PHI, "gpu0")
    night.load(80, E5, "gpu0", origin="operator")
    night.looks(100, 200, (PHI,))
    night.looks(220, 400, ())
    night.load(420.3, BGE, "gpu0", PHI)
    night.looks(440, 500, ())
    night.looks(520, 600, (BGE,))
    night.load(610, PHI, "gpu1", outcome="failed", reason="the card was lost")
    night.looks(620, 700, ())
    night.die(720, "gpu0", "gpu0: the worker was killed by SIGKILL; its models come back")
    night.looks(740, 760, ())
    night.started(1000)
    night.load(1030, PHI, "gpu1", origin="restore")
    for turn in range(6):
        comes, leaves = ((BGE, PHI), (PHI, BGE))[turn % 2]
        night.load(1050.3 + 20 * turn, comes, "gpu1", leaves)
        night.look(1060 + 20 * turn, comes)
    night.looks(1180, 1400, (PHI,))
    return night


def night_engine() -> ScriptedEngine:
    """Its records are those of the night; PHI is on gpu1 and answers."""
    engine = ScriptedEngine()
    engine.now_s = BEGAN_S + NOW - 1
    for record in whole_night().records:
        engine.add_entry(record.entry)
    footprint = engine.state.models[PHI].footprint
    there = Resident(PHI, "gpu1", "ready", footprint, BEGAN_S + 1150, leases=1)
    engine.set_state(measured(replace(engine.state, residents=(there,))))
    engine.now_s = BEGAN_S + NOW - 1
    return engine
