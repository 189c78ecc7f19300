"""A scripted world around a real scheduler: effects wait until the test performs them, and time stands until it is told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Literal, TypeVar

from engine.api import Answer
from engine.core.catalog import CatalogChange
from engine.core.commands import Command, Origin, Submission
from engine.core.names import DeviceId, ModelName
from engine.core.policy import Policy
from engine.core.records import Entry, Residency
from engine.core.state import State
from engine.scheduler.board import Instant, Patience
from engine.scheduler.effects import (
    AnswerCommand,
    BindModel,
    CatalogTaken,
    Deny,
    DropSlab,
    Effect,
    ForgetModel,
    Grant,
    InvalidateSlab,
    KeepPeaks,
    KeepResidency,
    KillWorker,
    KnowModel,
    ReadSlab,
    ReleaseModel,
    StartWorker,
    StopReading,
    StopRun,
    StopVerifying,
    VerifySlab,
    Write,
    WriteBackSlab,
)
from engine.scheduler.messages import (
    BindFailed,
    LeaseAsked,
    LeaseEnded,
    Message,
    ModelBound,
    ModelReleased,
    SlabFailed,
    SlabNotWrittenBack,
    SlabOpened,
    SlabRead,
    SlabVerified,
    SlabWrittenBack,
    Submit,
    Tick,
    Withdraw,
    WorkerDown,
    WorkerUp,
)
from engine.scheduler.scheduler import Scheduler
from engine.worker.protocol import Bound
from tests.core.boxes import NOW_S

E = TypeVar("E")


class World:
    """What the executor would do, one effect at a time and in the order that the test likes."""

    def __init__(self, state: State, policy: Policy | None = None, patience: Patience | None = None) -> None:
        self.scheduler = Scheduler(state, policy or Policy(), patience or Patience())
        self.now_s = 0.0
        self.set_back_s = 0.0
        """By so much the wall clock was set back, of which the steady one knows nothing."""
        self.waiting: list[Effect] = []
        """Effects that were asked for and not performed yet."""
        self.answers: dict[str, Answer] = {}
        self.granted: dict[int, DeviceId] = {}
        self.denied: dict[int, str] = {}
        self.stopped: dict[int, str] = {}
        """Runs that were told to end, and why."""
        self.retry_after_s: dict[int, float | None] = {}
        """Of those that were denied."""
        self.written: list[Entry] = []
        self.residencies: list[Residency] = []
        self.catalog_changes: list[CatalogChange] = []
        self.checking: ModelName | None = None
        """Whose slab is being checked; that takes until the test says what was found."""
        self.check_is_stopped = False
        self._numbers = count(1)

    @property
    def state(self) -> State:
        return self.scheduler.state

    def where(self) -> dict[ModelName, str]:
        """`{"a": "gpu0 ready"}`; a moving model shows both places."""
        places: dict[ModelName, str] = {}
        for resident in self.state.residents:
            before = f"{places[resident.model]}, " if resident.model in places else ""
            places[resident.model] = f"{before}{resident.device} {resident.stage}"
        return places

    # ── what reaches the scheduler ───────────────────────────────────────────────────────────────

    def send(self, message: Message) -> None:
        for effect in self.scheduler.handle(message, Instant(NOW_S + self.now_s - self.set_back_s, self.now_s)):
            match effect:
                case AnswerCommand(submission_id, answer):
                    assert submission_id not in self.answers, f"{submission_id} was answered twice"
                    self.answers[submission_id] = answer
                case Grant(lease, device):
                    assert lease not in self.granted
                    self.granted[lease] = device
                case Deny(lease, reason, retry_after_s):
                    assert lease not in self.granted
                    assert lease not in self.denied
                    self.denied[lease] = reason
                    self.retry_after_s[lease] = retry_after_s
                case StopRun(lease, reason):
                    assert lease not in self.stopped, f"{lease} was stopped twice"
                    self.stopped[lease] = reason
                    self.waiting.append(effect)
                case Write(entry):
                    self.written.append(entry)
                case KeepResidency(residency):
                    self.residencies.append(residency)
                case CatalogTaken(change):
                    self.catalog_changes.append(change)
                case VerifySlab(model):
                    assert self.checking is None
                    self.checking = model
                case StopVerifying(model):
                    assert self.checking == model
                    assert not self.check_is_stopped
                    self.check_is_stopped = True
                case _:
                    self.waiting.append(effect)

    def submit(
        self, command: Command, origin: Origin = "operator", confirmed: str | None = None, *, now: bool = False
    ) -> str:
        name = f"s{next(self._numbers)}"
        self.send(Submit(Submission(name, command, origin, confirmed, now)))
        return name

    def ask(self, model: ModelName, work: int = 1, *, again: bool = False) -> int:
        lease = next(self._numbers)
        self.send(LeaseAsked(lease, model, work, again))
        return lease

    def give_back(self, lease: int, device_s: float = 0.0) -> None:
        self.send(LeaseEnded(lease, device_s))

    def withdraw(self, name: str) -> None:
        self.send(Withdraw(name))

    def kill_worker(self, device: DeviceId, reason: str = "was killed by SIGKILL") -> None:
        """The worker dies: what it was doing will not be reported, but that no slab comes back from it."""
        ended = [
            e for e in self.waiting if isinstance(e, BindModel | ReleaseModel | WriteBackSlab) and e.device == device
        ]
        self.waiting = [e for e in self.waiting if e not in ended]
        self.send(WorkerDown(device, reason))
        for effect in ended:
            if isinstance(effect, WriteBackSlab):
                self.send(SlabNotWrittenBack(effect.model))

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.send(Tick())

    # ── what the world does ──────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Perform everything that is asked for, in order, until nothing is."""
        while self.waiting:
            self.perform(self.waiting[0])

    def perform(self, effect: Effect) -> None:
        """Do one effect as it should go, taking 0.1 s."""
        self.waiting.remove(effect)
        self.now_s += 0.1
        match effect:
            case ReadSlab(model):
                size_bytes = self.state.models[model].footprint.weights_bytes
                self.send(SlabRead(model, "disk", size_bytes))
            case StopReading(model):
                if reading := self.find(ReadSlab, lambda e: e.model == model):
                    self.waiting.remove(reading)
                    self.send(SlabFailed(model, "stopped", "taken back"))
                if follower := self.find(BindModel, lambda e: e.model == model):
                    self.waiting.remove(follower)
                    self.send(BindFailed(model, follower.device, "not read", "taken back"))
            case BindModel(model, device):
                self.send(ModelBound(model, device, Bound(0, 0.06, 0.01, 0.02, 0)))
            case WriteBackSlab(model, device, size_bytes):
                self.send(SlabWrittenBack(model, device, size_bytes, 0.1))
            case ReleaseModel(model, device):
                self.send(ModelReleased(model, device, leaked_bytes=0, used_bytes=0))
            case StartWorker(device):
                self.send(WorkerUp(device, 4711))
            case KillWorker(device):
                self.kill_worker(device)
            case StopRun(lease):
                self.send(LeaseEnded(lease))
            case DropSlab() | InvalidateSlab() | KeepPeaks() | KnowModel() | ForgetModel():
                pass

    def open_slab(self, model: ModelName) -> None:
        """The reading of the model's slab begins to bring bytes."""
        self.expect(ReadSlab, lambda e: e.model == model)
        self.send(SlabOpened(model, "disk", self.state.models[model].footprint.weights_bytes))

    def end_check(self, finding: Literal["whole", "altered", "damaged", "replaced", "stopped"]) -> None:
        """The check of a slab ends, and finds this."""
        assert self.checking is not None
        model, self.checking, self.check_is_stopped = self.checking, None, False
        self.send(SlabVerified(model, finding, f"/prepared/{model}/slab.safetensors"))

    def fail_read(self, model: ModelName, reason: str) -> None:
        """The reading fails, and with it the load that copies behind it."""
        self.waiting.remove(self.expect(ReadSlab, lambda e: e.model == model))
        self.send(SlabFailed(model, "passing", reason))
        if follower := self.find(BindModel, lambda e: e.model == model):
            self.waiting.remove(follower)
            self.send(BindFailed(model, follower.device, "not read", reason))

    def fail_write_back(self, model: ModelName) -> None:
        """The slab can't be written back."""
        self.waiting.remove(self.expect(WriteBackSlab, lambda e: e.model == model))
        self.send(SlabNotWrittenBack(model))

    def fail_bind(self, model: ModelName, reason: str) -> None:
        self.refuse_bind(model, "broken", reason)

    def refuse_bind(self, model: ModelName, kind: Literal["broken", "not read", "replaced"], reason: str) -> None:
        effect = self.expect(BindModel, lambda e: e.model == model)
        self.waiting.remove(effect)
        self.send(BindFailed(model, effect.device, kind, reason))

    def find(self, kind: type[E], where: Callable[[E], bool] = lambda _: True) -> E | None:
        return next((e for e in self.waiting if isinstance(e, kind) and where(e)), None)

    def expect(self, kind: type[E], where: Callable[[E], bool] = lambda _: True) -> E:
        found = self.find(kind, where)
        assert found is not None, f"no {kind.__name__} among {self.waiting}"
        return found
