"""What the engine holds of its devices' health: workers that come up and die, readings, and who has to come back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from engine.core import ledger
from engine.core.commands import Load
from engine.core.devices import DRIVER, Health, Reading, condition, worker_of
from engine.core.names import DeviceId, ModelName
from engine.core.records import Notice
from engine.core.sizes import format_room, format_size
from engine.core.state import DeviceState, Resident
from engine.scheduler.board import Board
from engine.scheduler.effects import KillWorker, StartWorker, Write
from engine.scheduler.messages import SignOfLife
from engine.scheduler.troubles import Troubles, card_past, cards_past, death_past, silent_past

CRASH_WINDOW_S: Final = 60.0
CRASHES_BEFORE_GIVING_UP: Final = 3
"""So many deaths within the window, and the residents that were there are not brought back: one of them may be the cause."""
LONGEST_DELAY_S: Final = 30.0
FIRST_RETRY_S: Final = 5.0
LONGEST_RETRY_S: Final = 300.0
"""Until a worker that can't use its device is replaced by another one, which may: twice as long after each that can't either."""
SHOWN_SHARE: Final = 1 / 5
"""Of the time that a worker has for a sign of life: from then on its device is shown as not answering, and takes no model."""
TOLD_SHARE: Final = 0.05
"""Of a device's total: what it changes by at least before the journal tells it. Where memory is shared it moves all the time."""
COMES_UP_S: Final = 5.0
"""Within which a worker usually follows one that has died; so long requests wait for its models to come back by themselves."""
IDLE_CONTEXT_S: Final = 60.0
"""A worker that has held a CUDA context so long without a resident is replaced by one that holds none."""


class _Lost(Struct, frozen=True):
    """A resident of a worker that is gone."""

    model: ModelName
    others: frozenset[DeviceId]
    """Where else it stood then: its other copies."""


class DeviceHealth:
    """A device is as healthy as its last reading while its worker lives, and `starting` while it does not."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._troubles = Troubles(board)
        self._deaths: dict[DeviceId, list[float]] = {}
        self._lost: dict[DeviceId, list[_Lost]] = {}
        self._readings: dict[DeviceId, Reading] = {}
        """The last of each device, also of those whose worker is not up."""
        self._idle_since_s: dict[DeviceId, float] = {}
        self._retiring: set[DeviceId] = set()
        self._silent: dict[DeviceId, str] = {}
        """What is said of each device whose worker does not answer."""
        self._hung: dict[DeviceId, str] = {}
        """Why the worker of each of these was told to end."""
        self._unusable: dict[DeviceId, str] = {}
        """Why the worker of each of these can't run any model."""
        self._retry_at_s: dict[DeviceId, float] = {}
        """When another worker is tried, on the steady clock; those of a kind that none can use are not among them."""
        self._pauses_s: dict[DeviceId, float] = {}
        """How long the next pause is."""
        self._told: dict[DeviceId, Health] = {}
        """How each device is, as somebody was told last; those that were always well are not among them."""
        self._told_bytes: dict[DeviceId, int] = {}
        """The total of each device that somebody was told of last."""

    @property
    def coming_back(self) -> list[tuple[ModelName, DeviceId]]:
        """Residents of before a restart, or of a dead worker, which are loaded again once their device is up."""
        return [(one.model, device) for device, lost in self._lost.items() for one in lost if self._is_wanted(one)]

    def comes_back(self, model: ModelName) -> bool:
        """Whether the model is about to be loaded again where it was: a worker comes up there, in time and for the first time."""
        return any(
            any(one.model == model for one in lost) and self._comes_up(device) for device, lost in self._lost.items()
        )

    def _is_away(self, device: DeviceId) -> bool:
        """Whether the device itself says that nothing can be placed there now, whatever its worker does."""
        return (last := self._readings.get(device)) is not None and last.health not in ("ok", "starting")

    def _comes_up(self, device: DeviceId) -> bool:
        if self._is_away(device):
            return False
        deaths = self._deaths.get(device, [])
        since_s = deaths[-1] if deaths else self._board.now.mono_s
        return len(deaths) <= 1 and self._board.now.mono_s - since_s < COMES_UP_S

    def expect_back(self, residents: Iterable[tuple[ModelName, DeviceId]]) -> None:
        """Load these when their devices are up. Models and devices that the configuration no longer has are left out."""
        pairs = [(m, d) for m, d in residents if m in self._board.state.models and d in self._board.state.devices]
        for model, device in pairs:
            others = frozenset(other for name, other in pairs if name == model and other != device)
            self._lost.setdefault(device, []).append(_Lost(model, others))

    def worker_up(self, device: DeviceId, pid: int) -> tuple[Load, ...]:
        """The device can be used, once it answers; the loads of what its last worker lost."""
        known = self._board.state.devices[device]
        unread = (
            Reading("starting", "its card has not been read yet", at_s=known.reading.at_s, mono_s=known.reading.mono_s)
            if known.spec.on_card
            else Reading("ok", "", 0, 0)
        )
        self._board.know_device(replace(known, worker_pid=pid, reading=self._readings.get(device, unread)))
        loads = self._returning(device)
        self._troubles.end(worker_of(device), device, _again(loads))
        return loads

    def _returning(self, device: DeviceId) -> tuple[Load, ...]:
        """The loads of what was lost there, where something can be placed again."""
        last = self._readings.get(device)
        if self._board.state.devices[device].spec.on_card and (last is None or last.health != "ok"):
            return ()
        lost = [one for one in self._lost.pop(device, []) if self._is_wanted(one)]
        return tuple(Load(one.model, device, also=bool(one.others)) for one in lost)

    def _is_wanted(self, lost: _Lost) -> bool:
        """One that has come somewhere else meanwhile, for a request, is not brought back beside that."""
        return {r.device for r in self._board.state.of(lost.model)} <= lost.others

    def worker_down(self, device: DeviceId, reason: str) -> None:
        """The device lost its residents. A new worker is started, later the more often that has happened lately."""
        state = self._board.state
        lost = [self._lost_now(r) for r in state.on(device) if r.stage in ("ready", "draining")]
        self._board.apply(ledger.lose_worker, device)
        self._idle_since_s.pop(device, None)
        self._unusable.pop(device, None)
        self._retry_at_s.pop(device, None)
        self._forget_silence(device)
        reason = self._hung.pop(device, reason)
        if not state.devices[device].spec.on_card:
            self._readings.pop(device, None)  # it told of the dead worker's memory
        if device in self._retiring:
            # We have ended it ourselves: no death to count and nothing to warn of. Who came there in the last moment comes back.
            self._retiring.discard(device)
            self._lost.setdefault(device, []).extend(lost)
            self._start(device, "its worker is being replaced", after_s=0.0)
            return
        deaths = self._count_death(device)
        text = f"the worker of {device} {reason}"
        if deaths < CRASHES_BEFORE_GIVING_UP:
            self._lost.setdefault(device, []).extend(lost)
            fate = f"; {', '.join(one.model for one in lost)} will be loaded again" if lost else ""
        else:
            self._lost.pop(device, None)  # those of earlier deaths, too: any of them may be what kills the workers
            fate = f"; {deaths} deaths within {CRASH_WINDOW_S:.0f} s: its models are not loaded again by themselves"
        self._troubles.begin(worker_of(device), self._cause(device), text + fate, death_past(text), device)
        self._start(device, text, after_s=0.0 if deaths == 1 else min(2.0 ** (deaths - 2), LONGEST_DELAY_S))

    def restart(self, device: DeviceId) -> None:
        """Another worker is wanted by the operator, who is there to see what comes of it: deaths before that count no more."""
        self._deaths.pop(device, None)
        residents = [r.model for r in self._board.state.on(device) if r.stage in ("ready", "draining")]
        fate = f"; {', '.join(residents)} will be loaded again" if residents else ""
        self._notice("info", f"the worker of {device} is restarted, as the operator asked{fate}", device)
        if device not in self._retiring:
            self._replace_worker(device)

    def heard(self, sign: SignOfLife) -> None:
        """A look at the device's worker. One that gives no sign of life, or whose run makes no progress, is shown as such, and
        replaced when its time is over: what it holds comes back, and who waits for it is served."""
        device, patience = sign.device, self._board.patience
        before = self._silent.get(device, "")
        self._forget_silence(device)
        if sign.silent_s >= patience.not_answering_s * SHOWN_SHARE:
            fate = "was told to end" if device in self._hung else f"is replaced after {patience.not_answering_s:g} s"
            self._silent[device] = f"its worker has not answered for {sign.silent_s:.0f} s and {fate}"
        if before != (silence := self._silent.get(device, "")):
            known = self._board.state.devices[device]
            self.read(device, self._readings.get(device, replace(known.reading, health="ok", reason="")))
            if silence and not before:
                text, past = f"{device} {condition('not answering')}: {silence}", silent_past(device)
                self._troubles.begin(worker_of(device), self._cause(device), text, past, device, "not answering")
            elif before and not silence:
                self._troubles.end(worker_of(device), device)
        if why := self._why_hung(sign):
            self._end_hung(device, why)

    def _cause(self, device: DeviceId) -> str:
        """What the trouble of the device's worker comes from: from a driver that hangs, where it does."""
        last = self._readings.get(device)
        return (last.cause if last is not None else "") or worker_of(device)

    def _why_hung(self, sign: SignOfLife) -> str:
        """Why the worker is to be replaced, as what it did; empty when it is not."""
        patience = self._board.patience
        if sign.silent_s >= patience.not_answering_s:
            return f"gave no sign of life for {sign.silent_s:.0f} s"
        late = ((step_s, model) for model, step_s in sign.steps.items() if step_s >= patience.step_s)
        step_s, model = max(late, default=(0.0, ""))
        return f"was busy with one step of {model} for {step_s:.0f} s" if model else ""

    def _end_hung(self, device: DeviceId, why: str) -> None:
        """Told once: another kill would be no use to it, and might hit the next worker."""
        if device not in self._hung:
            self._hung[device] = f"{why} and was ended"
            self._board.emit(KillWorker(device))

    def _forget_silence(self, device: DeviceId) -> None:
        """What the last reading says of it must not outlive it: a card is read while its worker is down, too."""
        self._silent.pop(device, None)
        if (last := self._readings.get(device)) is not None and last.health == "not answering":
            self._readings[device] = replace(last, health="ok", reason="")

    def _lost_now(self, resident: Resident) -> _Lost:
        """The model with the devices that have its other copies, or are to have them again. What was leaving is no copy."""
        model, device = resident.model, resident.device
        if resident.stage != "ready":
            return _Lost(model, frozenset())
        here = {other.device for other in self._board.state.beside(model, device)}
        together = {d for d, lost in self._lost.items() for one in lost if one.model == model and device in one.others}
        return _Lost(model, frozenset(here | together))

    def unusable(self, device: DeviceId, reason: str) -> None:
        """The device's worker can't run any model, whatever the driver says of it. Another worker is tried after a pause, and
        with the operator's next command."""
        pause_s = self._pauses_s.get(device, FIRST_RETRY_S)
        self._pauses_s[device] = min(2 * pause_s, LONGEST_RETRY_S)
        self._retry_at_s[device] = self._board.now.mono_s + pause_s
        self._mark_unusable(device, f"{reason}; it is tried again in {pause_s:.0f} s, and with your next command")

    def unsupported(self, device: DeviceId, reason: str) -> None:
        """No worker can run any model on the device, nor on others of its kind."""
        devices = self._board.state.devices
        for other, known in devices.items():
            if known.spec.on_card and known.spec.title == devices[device].spec.title:
                self._mark_unusable(other, reason)

    def works(self, device: DeviceId) -> None:
        """A model has come to the device: pauses begin anew."""
        self._pauses_s.pop(device, None)

    def try_again(self) -> None:
        """Somebody may have mended what was wrong: try devices that could not be used at once. Plans wait for them."""
        for device in list(self._retry_at_s):
            self._retry(device)

    def _retry(self, device: DeviceId) -> None:
        del self._retry_at_s[device]
        self._unusable.pop(device, None)
        self._readings.pop(device, None)  # it says that the device can't be used
        known = self._board.state.devices[device]
        self._board.know_device(
            replace(known, reading=replace(known.reading, health="starting", reason="it is tried again"))
        )
        self._replace_worker(device)

    def _mark_unusable(self, device: DeviceId, reason: str) -> None:
        self._unusable[device] = reason
        reading = self._readings.get(device, self._board.state.devices[device].reading)
        self.read(device, replace(reading, health="ok", reason="", cause=""))

    def _replace_worker(self, device: DeviceId) -> None:
        """End it ourselves; that is no death."""
        self._retiring.add(device)
        self._board.emit(KillWorker(device))

    def used(self, device: DeviceId, used_bytes: int, context_bytes: int) -> None:
        """The worker's own figures after a load or an eviction. What a card holds in all, only the driver can tell."""
        known = self._board.state.devices[device]
        self._board.know_device(replace(known, context_bytes=context_bytes))
        if not known.spec.on_card:
            taken_bytes = known.reading.external_bytes or 0
            now = self._board.now
            read = replace(known.reading, used_bytes=used_bytes + taken_bytes, at_s=now.wall_s, mono_s=now.mono_s)
            self.read(device, read)

    def read(self, device: DeviceId, reading: Reading) -> tuple[Load, ...]:
        """A sample. It is shown as soon as the device's worker is up. Cards are read each second, so that what is due is seen.
        The loads of what comes back, where the device answers again that was lost when its worker came."""
        if self._retry_at_s.get(device, inf) <= self._board.now.mono_s:
            self._retry(device)
            return ()
        if reading.health == "ok" and device in self._unusable:
            reading = replace(reading, health="unsupported", reason=self._unusable[device])
        if reading.health == "ok" and device in self._silent:
            reading = replace(reading, health="not answering", reason=self._silent[device])
        known = self._board.state.devices[device]
        if not reading.at_s:  # not once in the engine's life: when the card was seen before that is known
            reading = replace(reading, at_s=known.reading.at_s)
        # Kept whatever follows: a card is read while its worker is down, too, and may be well before that is up.
        self._readings[device] = reading
        if known.worker_pid is None:
            return ()
        loads = self._returning(device)
        if known.spec.on_card and device not in self._silent:
            self._tell(device, reading, loads)
        known = replace(known, reading=reading)
        self._board.know_device(self._measured(known, reading.total_bytes or known.spec.total_bytes))
        self._retire_idle(device)
        return loads

    def _measured(self, known: DeviceState, total_bytes: int) -> DeviceState:
        """The device with the total that it has now."""
        device, spec = known.spec.id, known.spec
        told_bytes = self._told_bytes.setdefault(device, spec.total_bytes)
        if abs(total_bytes - told_bytes) >= TOLD_SHARE * told_bytes:
            self._told_bytes[device] = total_bytes
            budget_bytes, taken_bytes = int(total_bytes * spec.fraction), ledger.charged(self._board.state, device)
            text = f"{device} has {format_room(total_bytes)} of memory now, not {format_room(told_bytes)} as before"
            if taken_bytes > budget_bytes:
                text += f"; what is on it takes {format_size(taken_bytes)}, more than the {format_room(budget_bytes)} that may be"
                text += " filled of that: it stays, and nothing is loaded there before enough of it has left"
            self._notice("warning", text, device)
        return replace(known, spec=replace(spec, total_bytes=total_bytes))

    def _retire_idle(self, device: DeviceId) -> None:
        """Give an idle CUDA context back, which only the end of its process does."""
        known, now_s = self._board.state.devices[device], self._board.now.mono_s
        if not known.context_bytes or self._board.state.on(device):
            self._idle_since_s.pop(device, None)
        elif now_s - self._idle_since_s.setdefault(device, now_s) >= IDLE_CONTEXT_S and device not in self._retiring:
            self._replace_worker(device)

    def _tell(self, device: DeviceId, reading: Reading, loads: Sequence[Load]) -> None:
        if reading.health in ("starting", self._told.get(device, "ok")):
            return
        self._told[device] = reading.health
        if reading.health == "ok":
            self._troubles.end(device, device, _again(loads))
            return
        by_driver = reading.cause == DRIVER
        if by_driver and self._troubles.of(device) not in ("", DRIVER):
            return  # it was ill before the driver hung; the others tell of that
        what = "no card can be read" if by_driver else f"{device} {condition(reading.health)}"
        past = cards_past if by_driver else card_past(device, reading)
        text = f"{what}: {reading.reason}"
        self._troubles.begin(device, reading.cause or device, text, past, device, reading.health)

    def _count_death(self, device: DeviceId) -> int:
        now_s = self._board.now.mono_s
        recent = [t for t in self._deaths.get(device, []) if now_s - t < CRASH_WINDOW_S]
        self._deaths[device] = [*recent, now_s]
        return len(self._deaths[device])

    def _start(self, device: DeviceId, reason: str, after_s: float) -> None:
        known = self._board.state.devices[device]
        at_s, mono_s = known.reading.at_s, known.reading.mono_s
        self._board.know_device(replace(known, reading=Reading("starting", reason, at_s=at_s, mono_s=mono_s)))
        self._board.emit(StartWorker(device, after_s))

    def _notice(self, level: Literal["info", "warning"], text: str, device: DeviceId) -> None:
        self._board.emit(Write(Notice(self._board.now.wall_s, level, text, device)))


def _again(loads: Sequence[Load]) -> str:
    return f"; loading {', '.join(load.model for load in loads)} again" if loads else ""
