"""Requests that come, leave, fail and are answered, and workers that die under them, in any order: each is granted or denied
once, bounds hold, nobody starves, and nothing is kept for whoever has gone."""

from __future__ import annotations

from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import Struct

from engine.core.commands import Evict, Load
from engine.core.ledger import broken_invariants
from engine.core.policy import Policy
from engine.scheduler.board import Patience, QueueBounds
from engine.scheduler.effects import BindModel, ReadSlab, StartWorker
from engine.scheduler.messages import BindFailed, SlabFailed
from tests.core.boxes import box
from tests.scheduler.scripted_world import World

SIZES: Final = {"small": 20, "large": 60, "other": 70}
MODELS = st.sampled_from(sorted(SIZES))
BOUNDS: Final = QueueBounds(rows=20, wait_s=30.0)


class Asked(Struct):
    model: str
    work: int
    deaths: int = 0


class RequestsInAnyOrder(RuleBasedStateMachine):
    """Plays what asks for leases: whoever's worker dies asks once more, as `engine.runtime.requests` does."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(box(SIZES, cpu=150), Policy(min_residency_s=0.5), Patience(queue=BOUNDS))
        self.open: dict[int, Asked] = {}
        """Neither answered nor left nor denied."""

    def running(self) -> dict[int, Asked]:
        return {lease: asked for lease, asked in self.open.items() if lease in self.world.granted}

    def ask(self, asked: Asked, *, again: bool) -> None:
        before = [other.work for other in self.open.values() if other.model == asked.model]
        lease = self.world.ask(asked.model, asked.work, again=again)
        is_taken = lease not in self.world.denied
        assert is_taken or not again
        assert is_taken or before, "a request alone was turned away"
        assert again or not is_taken or not before or sum(before) + asked.work <= BOUNDS.rows
        if is_taken:
            self.open[lease] = asked

    def forget_the_denied(self) -> None:
        for lease in [lease for lease in self.open if lease in self.world.denied]:
            del self.open[lease]
            self.world.give_back(lease)

    @rule(model=MODELS, work=st.sampled_from([1, 3, 15, 50]))
    def a_request_comes(self, model: str, work: int) -> None:
        self.ask(Asked(model, work), again=False)

    @rule(data=st.data(), device_s=st.sampled_from([0.0, 0.2, 5.0]))
    def one_is_answered_or_fails(self, data: st.DataObject, device_s: float) -> None:
        if running := sorted(self.running()):
            lease = data.draw(st.sampled_from(running))
            del self.open[lease]
            self.world.give_back(lease, device_s)

    @rule(data=st.data())
    def one_leaves(self, data: st.DataObject) -> None:
        if self.open:
            lease = data.draw(st.sampled_from(sorted(self.open)))
            del self.open[lease]
            self.world.give_back(lease)

    @rule(device=st.sampled_from(["gpu0", "gpu1", "cpu"]))
    def a_worker_dies(self, device: str) -> None:
        if any(isinstance(e, StartWorker) and e.device == device for e in self.world.waiting):
            return
        lost = {lease: asked for lease, asked in self.running().items() if self.world.granted[lease] == device}
        self.world.kill_worker(device)
        for lease, asked in lost.items():
            del self.open[lease]
            self.world.give_back(lease)
            if asked.deaths == 0:
                self.ask(Asked(asked.model, asked.work, 1), again=True)

    @rule(model=MODELS)
    def the_operator_evicts(self, model: str) -> None:
        self.world.submit(Evict(model))

    @rule(model=MODELS, device=st.sampled_from([None, "gpu0", "gpu1"]))
    def the_operator_adds_a_copy(self, model: str, device: str | None) -> None:
        self.world.submit(Load(model, device, also=True))

    @rule(model=MODELS, device=st.sampled_from(["gpu0", "gpu1"]))
    def the_operator_takes_a_copy_off(self, model: str, device: str) -> None:
        self.world.submit(Evict(model, device))

    @rule(data=st.data())
    def one_thing_happens(self, data: st.DataObject) -> None:
        if self.world.waiting:
            self.world.perform(data.draw(st.sampled_from(self.world.waiting)))

    @rule(data=st.data())
    def one_load_fails(self, data: st.DataObject) -> None:
        if loads := [e for e in self.world.waiting if isinstance(e, ReadSlab | BindModel)]:
            effect = data.draw(st.sampled_from(loads))
            self.world.waiting.remove(effect)
            if isinstance(effect, ReadSlab):
                self.world.send(SlabFailed(effect.model, "passing", "the disk coughed"))
            else:
                self.world.send(BindFailed(effect.model, effect.device, "broken", "out of luck"))

    @rule(seconds=st.sampled_from([0.1, 5, 40]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @invariant()
    def what_runs_is_counted_where_it_runs(self) -> None:
        self.forget_the_denied()
        assert broken_invariants(self.world.state) == []
        for resident in self.world.state.residents:
            here = [
                asked
                for lease, asked in self.running().items()
                if asked.model == resident.model and self.world.granted[lease] == resident.device
            ]
            assert resident.leases == len(here)
            assert resident.work == sum(asked.work for asked in here)

    @invariant()
    def nothing_waits_to_be_loaded_for_nobody(self) -> None:
        waiting = {asked.model for lease, asked in self.open.items() if lease not in self.world.granted}
        for job in self.world.scheduler.jobs(self.world.now_s):
            if job.origin == "request" and isinstance(job.command, Load) and job.phase in ("queue", "drain"):
                assert job.command.model in waiting

    def teardown(self) -> None:
        """The world does what it was asked, runs end, time passes: everybody has been answered, and nothing is left."""
        for _ in range(300):
            self.forget_the_denied()
            if self.world.waiting:
                self.world.perform(self.world.waiting[0])
            elif running := self.running():
                lease = min(running)
                del self.open[lease]
                self.world.give_back(lease, 0.1)
            elif self.world.scheduler.is_waiting:
                self.world.pass_time(5)
        assert not self.open
        assert not self.world.scheduler.is_waiting
        assert all(r.stage == "ready" and (r.leases, r.work) == (0, 0) for r in self.world.state.residents)


RequestsInAnyOrder.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestRequestsInAnyOrder = RequestsInAnyOrder.TestCase
