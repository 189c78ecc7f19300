"""Runs teach at any moment, also while their model is on its way: the invariants hold all the same, and everything ends."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from msgspec.structs import replace

from engine.core.devices import DeviceSpec
from engine.core.forecast.footprints import ENOUGH_RUNS
from engine.core.models import Footprint
from engine.core.policy import Policy
from engine.core.sizes import MIB
from engine.core.state import State
from engine.scheduler.board import Patience
from engine.scheduler.messages import RunMeasured, RunOutOfMemory
from tests.core.boxes import box
from tests.scheduler.scripted_world import World
from tests.scheduler.test_any_order import DEVICES, MODELS, SIZES, AnyOrder


def cards_with_workspaces() -> State:
    """Two cards, and models half of whose footprint is workspace."""
    state = box(SIZES, cpu=150)
    for name in ("gpu0", "gpu1"):
        spec = DeviceSpec(name, "NVIDIA A2", "gpu", f"cuda:{name[-1]}", 100 * MIB, 0.8)
        state = replace(state, devices={**state.devices, name: replace(state.devices[name], spec=spec)})
    for name, mib in SIZES.items():
        half = Footprint(mib * MIB // 2, mib * MIB // 2)
        state = replace(state, models={**state.models, name: replace(state.models[name], footprint=half)})
    return state


class AnyLesson(AnyOrder):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(cards_with_workspaces(), Policy(min_residency_s=0.5), Patience(retries=1))

    @rule(model=MODELS, device=DEVICES, mib=st.integers(0, 60), filled=st.sampled_from([0.1, 0.9, 1.0]))
    def twenty_runs(self, model: str, device: str, mib: int, filled: float) -> None:
        for _ in range(ENOUGH_RUNS):
            self.world.send(RunMeasured(model, device, mib * MIB, filled))

    @rule(model=MODELS, device=DEVICES)
    def a_run_comes_short(self, model: str, device: str) -> None:
        self.world.send(RunOutOfMemory(model, device))


AnyLesson.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestAnyLesson = AnyLesson.TestCase
