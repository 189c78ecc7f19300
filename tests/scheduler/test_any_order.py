"""Whatever is asked and whatever goes wrong, in any order: the invariants hold at every step, and everything ends."""

from __future__ import annotations

from typing import Final, Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from engine.core.commands import Batch, Command, Evict, ForceCpu, LeaveCpu, Load, Move, SetPin, Single, Unpin
from engine.core.devices import Reading
from engine.core.ledger import broken_invariants, budget, charged
from engine.core.policy import Policy
from engine.core.proposals import Proposal, Undo
from engine.core.proposing.propose import propose
from engine.core.records import Switch
from engine.core.state import State
from engine.scheduler.board import Patience
from engine.scheduler.effects import BindModel, KillWorker, ReadSlab, ReleaseModel, StartWorker, WriteBackSlab
from engine.scheduler.messages import BindFailed, CatalogRead, DeviceRead, SignOfLife, SlabFailed, SlabNotWrittenBack
from tests.core.boxes import NOW_S, box
from tests.scheduler.scripted_world import World

SIZES = {"tiny": 5, "small": 15, "middle": 35, "large": 60, "huge": 79}
MODELS = st.sampled_from(sorted(SIZES))
DEVICES = st.sampled_from(["gpu0", "gpu1", "cpu"])
BIND_FAILURES: Final[tuple[Literal["passing", "broken", "no room", "replaced"], ...]] = (
    "passing",
    "broken",
    "no room",
    "replaced",
)
FINDINGS: Final[tuple[Literal["whole", "altered", "damaged", "stopped"], ...]] = (
    "whole",
    "altered",
    "damaged",
    "stopped",
)
SINGLES: st.SearchStrategy[Single] = st.one_of(
    st.builds(Load, MODELS, st.none() | DEVICES, also=st.booleans()),
    st.builds(Evict, MODELS, st.none() | DEVICES),
    st.builds(SetPin, MODELS, st.none() | DEVICES),
    st.builds(Unpin, MODELS),
    st.builds(ForceCpu, MODELS),
    st.builds(LeaveCpu, MODELS),
    st.builds(Move, MODELS, DEVICES),
)
COMMANDS: st.SearchStrategy[Command] = SINGLES | st.builds(
    Batch, st.just("several"), st.lists(SINGLES, max_size=4).map(tuple)
)


class AnyOrder(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(box(SIZES, cpu=150), Policy(min_residency_s=0.5), Patience(retries=1))
        self.submitted: list[str] = []
        self.leases: list[int] = []

    @rule(command=COMMANDS, now=st.booleans())
    def submit(self, command: Command, now: bool) -> None:
        self.submitted.append(self.world.submit(command, now=now))

    @rule()
    def undo(self) -> None:
        found = propose(self.world.state, Undo(), Policy(min_residency_s=0.0), NOW_S + self.world.now_s)
        if isinstance(found, Proposal):
            self.submitted.append(self.world.submit(found.command, confirmed=found.plan.effects))

    @rule(model=MODELS)
    def request(self, model: str) -> None:
        self.leases.append(self.world.ask(model))

    @rule(data=st.data())
    def end_a_request(self, data: st.DataObject) -> None:
        if self.leases:
            lease = data.draw(st.sampled_from(self.leases))
            self.leases.remove(lease)
            self.world.give_back(lease, data.draw(st.sampled_from([0.0, 0.01, 3.0])))

    @rule(data=st.data())
    def take_a_command_back(self, data: st.DataObject) -> None:
        if self.submitted:
            self.world.withdraw(data.draw(st.sampled_from(self.submitted)))

    @rule(data=st.data())
    def let_one_thing_happen(self, data: st.DataObject) -> None:
        if self.world.waiting:
            self.world.perform(data.draw(st.sampled_from(self.world.waiting)))

    @rule(data=st.data())
    def let_one_thing_fail(self, data: st.DataObject) -> None:
        fallible = [e for e in self.world.waiting if isinstance(e, ReadSlab | BindModel | WriteBackSlab)]
        if fallible:
            effect = data.draw(st.sampled_from(fallible))
            self.world.waiting.remove(effect)
            match effect:
                case WriteBackSlab(model):
                    self.world.send(SlabNotWrittenBack(model))
                case ReadSlab(model):
                    self.world.send(SlabFailed(model, "passing", "the disk coughed"))
                case BindModel(model, device):
                    kind = data.draw(st.sampled_from(BIND_FAILURES))
                    self.world.send(BindFailed(model, device, kind, "out of luck"))

    @rule(data=st.data())
    def let_one_thing_hang(self, data: st.DataObject) -> None:
        able = [e for e in self.world.waiting if isinstance(e, BindModel | ReleaseModel)]
        if able:
            self.world.waiting.remove(data.draw(st.sampled_from(able)))

    @rule(finding=st.sampled_from(FINDINGS))
    def end_a_check(self, finding: Literal["whole", "altered", "damaged", "stopped"]) -> None:
        if self.world.checking is not None:
            self.world.end_check(finding)

    @rule(device=DEVICES)
    def kill_a_worker(self, device: str) -> None:
        starting = any(isinstance(e, StartWorker) and e.device == device for e in self.world.waiting)
        if not starting:
            self.world.kill_worker(device)

    @rule(sizes=st.dictionaries(MODELS, st.sampled_from([4, 14, 34])), dtype=st.sampled_from(["float32", "float16"]))
    def change_the_catalog(self, sizes: dict[str, int], dtype: Literal["float32", "float16"]) -> None:
        known = box(sizes).models
        models = {name: replace(model, spec=replace(model.spec, dtype=dtype)) for name, model in known.items()}
        self.world.send(CatalogRead(tuple(models), models))

    @rule()
    def put_the_catalog_back(self) -> None:
        self.world.send(CatalogRead(tuple(SIZES), box(SIZES).models))

    @rule(device=DEVICES, silent_s=st.sampled_from([0.0, 6.0, 16.0]), step_s=st.sampled_from([1.0, 130.0]))
    def look_at_a_worker(self, device: str, silent_s: float, step_s: float) -> None:
        starting = any(isinstance(e, StartWorker) and e.device == device for e in self.world.waiting)
        if not starting:
            self.world.send(SignOfLife(device, silent_s, {"tiny": step_s} if not silent_s else {}))

    @rule(seconds=st.sampled_from([0.1, 5, 200]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @invariant()
    def the_ledger_is_sound(self) -> None:
        state = self.world.state
        assert broken_invariants(state, state) == []
        assert all(charged(state, device) <= self.most_bytes(state, device) for device in state.devices)

    def most_bytes(self, state: State, device: str) -> int:
        """What may be charged to the device."""
        return budget(state, device)

    @invariant()
    def nothing_is_left_of_a_model_that_has_gone(self) -> None:
        state = self.world.state
        named = {r.model for r in state.residents} | {slab.model for slab in state.ram.slabs}
        named |= {step.model for change in state.changes for step in change.steps}
        assert named <= state.models.keys()

    @invariant()
    def what_comes_by_itself_is_a_copy_on_a_gpu(self) -> None:
        for job in self.world.scheduler.jobs(self.world.now_s):
            if job.origin == "queue" and job.plan is not None:
                assert all(load.stays and load.device not in (*load.stays, "cpu") for load in job.plan.loads)

    @invariant()
    def leases_are_counted_once(self) -> None:
        held = [lease for lease in self.leases if lease in self.world.granted]
        assert sum(r.leases for r in self.world.state.residents) <= len(held)

    @invariant()
    def phases_sum_to_totals(self) -> None:
        for entry in self.world.written:
            if isinstance(entry, Switch):
                assert abs(entry.phases.total_s - entry.total_s) < 1e-6

    def teardown(self) -> None:
        """Requests end, the world does what it was asked, time passes: then nothing is left under way."""
        for lease in self.leases:
            self.world.give_back(lease)
        for _ in range(200):
            kills = [e for e in self.world.waiting if isinstance(e, KillWorker)]
            for kill in kills:
                self.world.perform(kill)
            if self.world.waiting:
                self.world.perform(self.world.waiting[0])
            elif self.world.scheduler.is_waiting:
                self.world.pass_time(61)
        assert not self.world.scheduler.is_waiting
        assert set(self.submitted) <= set(self.world.answers)
        assert all(r.stage == "ready" and r.leases == 0 for r in self.world.state.residents)
        assert all(slab.stage == "kept" for slab in self.world.state.ram.slabs)


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase


class AnyTotals(AnyOrder):
    """The same, while the devices' totals change under what is on them: no more is charged than the largest total allowed."""

    @rule(device=st.sampled_from(["gpu0", "gpu1"]), share=st.sampled_from([0.1, 0.5, 1.0]))
    def change_a_total(self, device: str, share: float) -> None:
        whole_bytes = box(SIZES, cpu=150).devices[device].spec.total_bytes
        self.world.send(DeviceRead(device, Reading("ok", "", 0, 0, total_bytes=int(share * whole_bytes))))

    def most_bytes(self, state: State, device: str) -> int:
        return budget(box(SIZES, cpu=150), device)


AnyTotals.TestCase.settings = settings(AnyOrder.TestCase.settings, max_examples=50)
TestAnyTotals = AnyTotals.TestCase
