"""The ledger: who is charged how many bytes where, the only ways in which that may change, and what must be true of every
state.

Every function takes a state and returns the next one. A transition that is not allowed raises `LedgerError`: that is a defect
of the caller, never a way to ask whether there is room.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, TypeVar

from msgspec.structs import replace

from engine.core.models import Footprint, Pin
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.state import Resident, Slab, Stage, State


class LedgerError(Exception):
    """A transition that the lifecycle or a budget forbids."""


_FOR_EVER_S: Final = 100 * 365 * 86_400.0

_ALLOWED_NEXT: Final[dict[Stage, frozenset[Stage]]] = {
    "pending": frozenset({"loading"}),
    "loading": frozenset({"ready", "leaving"}),
    "ready": frozenset({"draining", "leaving"}),
    "draining": frozenset({"ready", "leaving"}),
    "leaving": frozenset(),
}
"""From `pending` a resident may also vanish (nothing was reserved), from `leaving` it does, from any stage when its worker
dies."""


# ── room ─────────────────────────────────────────────────────────────────────────────────────────


def budget(state: State, device: DeviceId) -> int:
    """Bytes of `device` that the engine may fill: fraction × total, never more than others and our own context leave free."""
    known = state.devices[device]
    total = known.spec.total_bytes
    left = total - (known.reading.external_bytes or 0) - known.context_bytes
    return max(0, min(int(total * known.spec.fraction), left))


# There are two answers to "how much room is there", and confusing them gives bytes away twice. `free` is what is proven: bytes
# of who is leaving are still taken, since a driver may hold them for a while, or for good. `headroom` is what is promised: who
# is leaving counts as gone, and who is pending as come. Plans are made with `headroom`, so that two of them never count
# on the same bytes and no victim leaves for room that is coming anyway; a load begins only when `reserve` finds it `free`.


def charged(state: State, device: DeviceId) -> int:
    """Bytes that are taken or promised there now: loading, ready, draining, leaving and leaked."""
    residents = sum(r.footprint.total_bytes for r in state.on(device) if r.stage != "pending")
    return residents + state.devices[device].leaked_bytes


def free(state: State, device: DeviceId) -> int:
    """Bytes that can be reserved there at this moment."""
    return budget(state, device) - charged(state, device)


def headroom(state: State, device: DeviceId) -> int:
    """Bytes that will be free there once all that is leaving has left and all that is pending has come."""
    staying = sum(r.footprint.total_bytes for r in state.on(device) if r.stage not in ("draining", "leaving"))
    return budget(state, device) - staying - state.devices[device].leaked_bytes


# ── residents ────────────────────────────────────────────────────────────────────────────────────


def pend(state: State, model: ModelName, device: DeviceId, now_s: float) -> State:
    """An accepted load, its room not proven yet. At most one load of a model is under way at a time."""
    if any(r.stage in ("pending", "loading") for r in state.of(model)) or state.find(model, device):
        raise LedgerError(f"{model} is already on its way to or from a device")
    resident = Resident(model, device, "pending", state.models[model].footprint, now_s)
    return replace(state, residents=(*state.residents, resident))


def reserve(state: State, model: ModelName, device: DeviceId, now_s: float) -> State:
    """`pending` → `loading`: the bytes are charged from here on, as many as the model is taken to need by now."""
    footprint = state.models[model].footprint
    if (need := footprint.total_bytes) > free(state, device):
        raise LedgerError(f"{model} needs {need} bytes on {device}, {free(state, device)} are free")
    state = _put(state, replace(_get(state, model, device), footprint=footprint))
    return _enter(state, model, device, "loading", now_s)


def advance(state: State, model: ModelName, device: DeviceId, progress: float) -> State:
    """Note how far a load is."""
    resident = _get(state, model, device)
    return _put(state, replace(resident, progress=progress)) if resident.stage == "loading" else state


def correct(state: State, model: ModelName, device: DeviceId, footprint: Footprint) -> State:
    """Charge a load its true footprint, now that it is known."""
    resident = _get(state, model, device)
    if resident.stage != "loading":
        raise LedgerError(f"{model} on {device} is {resident.stage}, not loading")
    if footprint.total_bytes - resident.footprint.total_bytes > free(state, device):
        raise LedgerError(f"{model} needs more bytes on {device} than are free")
    return _put(state, replace(resident, footprint=footprint))


def arrive(state: State, model: ModelName, device: DeviceId, now_s: float) -> State:
    """`loading` → `ready`."""
    state = _enter(state, model, device, "ready", now_s)
    return _put(state, replace(_get(state, model, device), progress=None, idle_since_s=now_s))


def start_draining(state: State, model: ModelName, device: DeviceId, now_s: float) -> State:
    """`ready` → `draining`: it will leave when its leases have ended."""
    return _enter(state, model, device, "draining", now_s)


def give_up(state: State, model: ModelName, device: DeviceId) -> State:
    """Requests that come for a draining model from now on wait, instead of keeping it."""
    resident = _get(state, model, device)
    if resident.stage != "draining":
        raise LedgerError(f"{model} on {device} is {resident.stage}, not draining")
    return _put(state, replace(resident, given_up=True))


def rescue(state: State, model: ModelName, device: DeviceId, now_s: float) -> State:
    """`draining` → `ready`: somebody asked for it in time, or what it was to leave for came to nothing."""
    state = _enter(state, model, device, "ready", now_s)
    return _put(state, replace(_get(state, model, device), given_up=False))


def leave(state: State, model: ModelName, device: DeviceId, now_s: float) -> State:
    """→ `leaving`: past rescue; still charged."""
    resident = _get(state, model, device)
    if resident.leases:
        raise LedgerError(f"{model} on {device} is leased")
    return _enter(state, model, device, "leaving", now_s)


def release_bytes(state: State, model: ModelName, device: DeviceId, leaked_bytes: int) -> State:
    """The device showed a leaving model's bytes free, all but `leaked_bytes`."""
    resident = _get(state, model, device)
    if resident.stage != "leaving" or not 0 <= leaked_bytes <= resident.footprint.total_bytes:
        raise LedgerError(f"{model} on {device} is {resident.stage} and can't give bytes back")
    known = state.devices[device]
    known = replace(known, leaked_bytes=known.leaked_bytes + leaked_bytes)
    return replace(_without(state, resident), devices={**state.devices, device: known})


def withdraw(state: State, model: ModelName, device: DeviceId) -> State:
    """A pending load that won't come."""
    resident = _get(state, model, device)
    if resident.stage != "pending":
        raise LedgerError(f"{model} on {device} is {resident.stage}, not pending")
    return _without(state, resident)


def lose_worker(state: State, device: DeviceId) -> State:
    """The device's process died: what it held is gone, leaks too. Pending loads have lost nothing."""
    gone = [r for r in state.on(device) if r.stage != "pending"]
    kept = tuple(r for r in state.residents if r not in gone)
    known = replace(state.devices[device], leaked_bytes=0, context_bytes=0, worker_pid=None, warmed=())
    return replace(state, residents=kept, devices={**state.devices, device: known})


def take_lease(state: State, model: ModelName, device: DeviceId, work: int = 1) -> State:
    """One more running use of a ready resident, by a request for so much work."""
    resident = _get(state, model, device)
    if resident.stage != "ready":
        raise LedgerError(f"{model} on {device} is {resident.stage}, not ready")
    return _put(state, replace(resident, leases=resident.leases + 1, work=resident.work + work, idle_since_s=None))


def end_lease(state: State, model: ModelName, device: DeviceId, now_s: float, work: int = 1) -> State:
    """One running use less, by the same request."""
    resident = _get(state, model, device)
    if resident.leases < 1:
        raise LedgerError(f"{model} on {device} has no lease to end")
    leases = resident.leases - 1
    idle_since_s = None if leases else now_s
    return _put(state, replace(resident, leases=leases, work=resident.work - work, idle_since_s=idle_since_s))


# ── what the operator says of models, and the RAM tier ───────────────────────────────────────────


def set_pin(state: State, model: ModelName, pin: Pin | None) -> State:
    return replace(state, models={**state.models, model: replace(state.models[model], pin=pin)})


def set_keep_alive(state: State, model: ModelName, seconds: float | None) -> State:
    """How long the model may be idle on a device; None for as long as it likes, which more than a century is, too:
    clients write it so, and no calendar has that date."""
    kept_s = None if seconds is None or seconds > _FOR_EVER_S else seconds
    return replace(state, models={**state.models, model: replace(state.models[model], keep_alive_s=kept_s)})


def set_clock_back(state: State, seconds: float) -> State:
    """The same times by a clock that was set back: what was so long ago is so long ago."""
    residents = tuple(
        replace(
            r,
            since_s=r.since_s - seconds,
            idle_since_s=None if r.idle_since_s is None else r.idle_since_s - seconds,
        )
        for r in state.residents
    )
    models = {
        name: known
        if (last_s := known.demand.last_s) is None
        else replace(known, demand=replace(known.demand, last_s=last_s - seconds))
        for name, known in state.models.items()
    }
    slabs = tuple(replace(slab, used_s=slab.used_s - seconds) for slab in state.ram.slabs)
    return replace(state, residents=residents, models=models, ram=replace(state.ram, slabs=slabs))


def put_slab(state: State, slab: Slab) -> State:
    """Add a slab to the RAM tier, or replace what is known of it."""
    others = tuple(s for s in state.ram.slabs if s.model != slab.model)
    return replace(state, ram=replace(state.ram, slabs=(*others, slab)))


def drop_slab(state: State, model: ModelName) -> State:
    """Take a slab off the RAM tier. One that a CPU resident runs from, or that a load copies from, can't go."""
    if slab_in_use(state, model) and any(s.model == model and s.stage == "kept" for s in state.ram.slabs):
        raise LedgerError(f"the slab of {model} is in use")
    return replace(state, ram=replace(state.ram, slabs=tuple(s for s in state.ram.slabs if s.model != model)))


def displace_slab(state: State, model: ModelName) -> State:
    """Take a slab off the RAM tier for want of room. Raises LedgerError as `drop_slab` does."""
    state = drop_slab(state, model)
    return replace(state, ram=replace(state.ram, displaced=state.ram.displaced + 1))


def slab_in_use(state: State, model: ModelName) -> bool:
    """Whether a CPU resident runs from the model's slab, or a load copies from it or is about to."""
    return any(r.stage in ("pending", "loading") or r.device == CPU for r in state.of(model))


def _get(state: State, model: ModelName, device: DeviceId) -> Resident:
    resident = state.find(model, device)
    if resident is None:
        raise LedgerError(f"{model} is not on {device}")
    return resident


def _enter(state: State, model: ModelName, device: DeviceId, stage: Stage, now_s: float) -> State:
    resident = _get(state, model, device)
    if stage not in _ALLOWED_NEXT[resident.stage]:
        raise LedgerError(f"{model} on {device} can't go from {resident.stage} to {stage}")
    return _put(state, replace(resident, stage=stage, since_s=now_s))


def _put(state: State, resident: Resident) -> State:
    key = (resident.model, resident.device)
    return replace(state, residents=tuple(resident if (r.model, r.device) == key else r for r in state.residents))


def _without(state: State, resident: Resident) -> State:
    return replace(state, residents=tuple(r for r in state.residents if r is not resident))


_T = TypeVar("_T")


def broken_invariants(state: State, before: State | None = None) -> list[str]:
    """What is wrong with `state`, which follows on `before`, in words; empty when all is well. Cheap enough to ask after every
    event."""
    # Only what the engine itself could have done wrong counts. A device may well be charged more than its `budget`, which
    # shrinks under what is charged already when another program takes memory or our own context grows: the next plan reckons
    # with that. So charges are held against what the engine may ever fill; and since the total of a card may shrink, too, what
    # is charged already may be more than that, but not become more. A pending load may stand on a device with no room for it:
    # its place is promised, and nothing is charged yet.
    wrong = []
    for device, known in state.devices.items():
        taken_bytes = charged(state, device)
        taken_before = charged(before, device) if before is not None and device in before.devices else 0
        if taken_bytes > max(int(known.spec.total_bytes * known.spec.fraction), taken_before):
            wrong.append(f"{device} is charged more than the engine may fill")
    for resident in state.residents:
        charge = resident.footprint
        if min(resident.leases, resident.work, charge.weights_bytes, charge.workspace_bytes) < 0:
            wrong.append(f"{resident.model} on {resident.device} has a negative figure")
        if resident.leases and resident.stage not in ("ready", "draining"):
            wrong.append(f"{resident.model} on {resident.device} is leased while {resident.stage}")
    loads = [r.model for r in state.residents if r.stage in ("pending", "loading")]
    wrong += [f"{model} is loaded twice at once" for model in _repeated(loads)]
    places = [(r.model, r.device) for r in state.residents]
    wrong += [f"{model} stands twice on {device}" for model, device in _repeated(places)]
    kept = {slab.model for slab in state.ram.slabs}
    wrong += [
        f"{r.model} runs from a slab that is gone"
        for r in state.on(CPU)
        if r.stage in ("ready", "draining") and r.model not in kept
    ]
    return wrong


def _repeated(items: Sequence[_T]) -> Collection[_T]:
    once = set(items)
    return () if len(once) == len(items) else [item for item in once if items.count(item) > 1]
