"""Having a model on a device: each device's cheapest offer, the plan that takes the best of them, or a refusal that a person can
act on: needed, free, who is in the way, and what would let it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from engine.core.commands import Load, Move, Single
from engine.core.devices import Neighbour, condition
from engine.core.forecast.costs import eviction, load_step_now, loss_s, reload_s
from engine.core.forecast.run_costs import drain_s
from engine.core.ledger import budget, headroom
from engine.core.models import Footprint, smaller_would_fit
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.copying import why_one_more
from engine.core.planning.eviction import leaver_of, victims
from engine.core.planning.knapsack_cover import Need
from engine.core.planning.ram_tier import with_write_backs
from engine.core.plans import Alternative, Blocker, BlockerWhy, EvictStep, LoadStep, Plan, Refusal, Room, Step
from engine.core.policy import Policy
from engine.core.sizes import format_room, format_size
from engine.core.state import ModelState, Resident, Situation, State

SHOWN_NEIGHBOURS: Final = 3
"""So many of the other processes on a device are named in a refusal."""


class Offer(Struct, frozen=True):
    """A device and the victims that would make room for the model there."""

    load: LoadStep
    victims: tuple[Resident, ...]
    victims_cost: tuple[float, ...]
    """In the policy's own unit; compares offers, the lowest first."""
    loss_s: float
    """Expected seconds of reloading the victims."""
    free_after_bytes: int
    room: Room
    """What the device has before anything leaves it."""

    @property
    def device(self) -> DeviceId:
        return self.load.device

    def as_alternative(self, why_not: str) -> Alternative:
        """This offer, as one that lost."""
        return Alternative(
            device=self.device,
            victims=tuple(v.model for v in self.victims),
            predicted=self.load.predicted,
            cost_s=self.loss_s + self.load.predicted.p50_s,
            why_not=why_not,
        )


class NoOffer(Struct, frozen=True):
    """A device that can't take the model, and why."""

    room: Room
    blockers: tuple[Blocker, ...]


def offer(situation: Situation, model: ModelName, device: DeviceId) -> Offer | NoOffer:
    """The cheapest way to have `model` on `device`."""
    state = situation.state
    need = state.models[model].footprint.total_bytes
    room = _room(state, device)
    reading = state.devices[device].reading
    if reading.health != "ok":
        return NoOffer(_noted(room, f"{condition(reading.health)}: {reading.reason}"), ())
    if need > room.budget_bytes:
        held = f"; others hold {format_size(room.others_bytes)} of it" if room.others_bytes else ""
        return NoOffer(_noted(room, f"its whole budget is {format_room(room.budget_bytes)}{held}"), ())
    here = state.find(model, device)
    if here is not None:
        return NoOffer(_noted(room, f"{model} is {here.stage} there"), (_blocker(here, "leaving"),))
    evictable, blockers = _evictable(situation, device)
    leavers = [leaver_of(state, r) for r in evictable]
    # Not what is free now: who is leaving for another load has left, as far as this one is concerned, and who is pending has
    # come. It may well be below 0, when other programs took what was ours; then victims pay for that, too.
    missing_bytes = need - headroom(state, device)
    choice = victims(situation, leavers, Need(missing_bytes))
    if choice is None:
        return NoOffer(room, blockers)
    chosen = tuple(r for r in evictable if r.model in choice.models)
    return Offer(
        load=load_step_now(state, model, device),
        victims=chosen,
        victims_cost=choice.cost,
        loss_s=sum(loss_s(state, v) for v in chosen),
        free_after_bytes=choice.freed_bytes - missing_bytes,
        room=room,
    )


def best_first(state: State, offers: Iterable[Offer], policy: Policy) -> list[Offer]:
    """Offers in the order of preference: fewest expected losses, the catalog's preferred device, then the balancing."""

    # Each device has searched for its own cheapest set, so the best of these is the cheapest set anywhere: victims on two
    # devices never make room for one model. Losses are compared to the millionth: equal ones that were added up in another
    # order differ in their last digits, and such dust must not decide over what the operator asked for. The device's name comes
    # last, so that equal offers have one order, whatever order they came in.
    def rank(offered: Offer) -> tuple[list[float], int, bool, float, list[DeviceId]]:
        preferred = state.models[offered.load.model].spec.preferred_device
        return (
            [round(cost, 6) for cost in offered.victims_cost],
            len(offered.victims),
            offered.device != preferred,
            _balance_key(state, offered, policy),
            [offered.device],
        )

    return sorted(offers, key=rank)


def gpus(state: State) -> tuple[DeviceId, ...]:
    return tuple(d for d in state.devices if d != CPU)


def _balance_key(state: State, offered: Offer, policy: Policy) -> float:
    match policy.balancing:
        case "spread":
            # by their number; what stays free is a share below 1, which decides between equal numbers only
            staying = [r for r in state.on(offered.device) if r not in offered.victims]
            return len(staying) - offered.free_after_bytes / state.devices[offered.device].spec.total_bytes
        case "most_free":
            return -offered.free_after_bytes
        case "pack":
            return offered.free_after_bytes


def _evictable(situation: Situation, device: DeviceId) -> tuple[list[Resident], tuple[Blocker, ...]]:
    evictable, blockers = [], []
    for resident in situation.state.on(device):
        why = _why_not_evictable(situation, resident)
        if why is None:
            evictable.append(resident)
        elif why != "leaving":  # that one is in nobody's way: the headroom counts on its bytes
            blockers.append(_blocker(resident, why))
    return evictable, tuple(blockers)


def _why_not_evictable(situation: Situation, resident: Resident) -> BlockerWhy | None:
    if resident.stage in ("pending", "loading"):
        return "loading"
    if resident.stage in ("draining", "leaving"):
        return "leaving"
    if situation.state.is_pinned(resident):
        return "pinned"
    if resident.leases:
        return "leased"
    if situation.now_s - resident.since_s < situation.policy.min_residency_s:
        return "too young"
    return None


def _blocker(resident: Resident, why: BlockerWhy) -> Blocker:
    return Blocker(resident.model, resident.device, resident.footprint.total_bytes, why)


def _room(state: State, device: DeviceId) -> Room:
    known, budget_bytes = state.devices[device], budget(state, device)
    lacks_bytes = int(known.spec.total_bytes * known.spec.fraction) - budget_bytes
    others_bytes = min(lacks_bytes, known.reading.external_bytes or 0)
    return Room(device, budget_bytes, max(0, headroom(state, device)), others_bytes=others_bytes)


def _noted(room: Room, note: str) -> Room:
    return replace(room, note=note)


def over_any_budget(command: Single, model: ModelState, rooms: Sequence[Room], state: State) -> Refusal | None:
    """The refusal of a model that is larger than every budget asked about; None when one is large enough."""
    need = model.footprint.total_bytes
    if any(room.budget_bytes >= need for room in rooms):
        return None
    if held := [room for room in rooms if room.budget_bytes + room.others_bytes >= need]:
        return _held_by_others(command, model, held, rooms, state)
    largest = max(rooms, key=lambda room: room.budget_bytes)
    fits = smaller_would_fit(model.smaller, largest.budget_bytes)
    smaller = f"lower its limits or choose a smaller dtype in model_gpu_mapping.json{fits and f': {fits}'}"
    return Refusal(
        command,
        f"{model.spec.name} needs {_footprint(model.footprint)}; the largest budget is {format_room(largest.budget_bytes)}"
        f" on {largest.device}",
        needed_bytes=need,
        rooms=tuple(rooms),
        advice=(smaller, "raise GPU_MEMORY_FRACTION"),
    )


def _held_by_others(
    command: Single, model: ModelState, held: Sequence[Room], rooms: Sequence[Room], state: State
) -> Refusal:
    """The refusal of a model that would fit if other processes did not hold what they do of the `held` rooms' devices."""
    told = [
        f"others hold {format_size(state.devices[room.device].reading.external_bytes or 0)} of {room.device}"
        f"{_who(state.devices[room.device].reading.neighbours)} and leave {format_room(room.budget_bytes)} for models"
        for room in held
    ]
    where = " or ".join(room.device for room in held)
    advice = [f"end what else uses {where}, or wait until it has given memory back"]
    if all(room.device != CPU for room in rooms):
        advice.append(f"run {command.model} on the CPU")
    return Refusal(
        command,
        f"{model.spec.name} needs {_footprint(model.footprint)}; {'; '.join(told)}",
        needed_bytes=model.footprint.total_bytes,
        rooms=tuple(rooms),
        advice=tuple(advice),
    )


def _who(neighbours: Sequence[Neighbour]) -> str:
    """The largest of them: " (python 4711: 300 MiB, Xorg 998: 40 MiB and 2 more)"; nothing where nobody can be seen."""
    if not neighbours:
        return ""
    largest = sorted(neighbours, key=lambda one: -(one.used_bytes or 0))
    named = [
        f"{one.name or 'process'} {one.pid}" + (f": {format_size(one.used_bytes)}" if one.used_bytes else "")
        for one in largest[:SHOWN_NEIGHBOURS]
    ]
    more = len(largest) - len(named)
    return f" ({', '.join(named)}{f' and {more} more' if more else ''})"


def no_room(command: Single, model: ModelState, none: Sequence[NoOffer]) -> Refusal:
    """The refusal of a model that would fit if something were not in the way."""
    rooms = tuple(o.room for o in none)
    blockers = tuple(b for o in none for b in o.blockers)
    shown = ", ".join(f"{r.device} {r.note or format_room(r.free_bytes) + ' free'}" for r in rooms)
    if busy := " and ".join(b.model for b in blockers if b.why == "leased"):
        shown += f"; {busy} in use"
    return Refusal(
        command,
        f"{model.spec.name} needs {_footprint(model.footprint)}; {shown}",
        needed_bytes=model.footprint.total_bytes,
        rooms=rooms,
        blockers=blockers,
        advice=_advice(command, blockers, rooms),
    )


def _advice(command: Single, blockers: Sequence[Blocker], rooms: Sequence[Room]) -> tuple[str, ...]:
    advice = [f"unpin {b.model}" for b in blockers if b.why == "pinned"]
    advice += [f"wait: {b.model} on {b.device} is {b.why}" for b in blockers if b.why != "pinned"]
    if busy := [b.model for b in blockers if b.why == "leased"]:
        advice.append(f"end the runs of {' and '.join(busy)}: --now, or n in the console")
    if all(room.device != CPU for room in rooms):
        advice.append(f"run {command.model} on the CPU")
    return tuple(advice)


def _footprint(footprint: Footprint) -> str:
    parts = f"{format_size(footprint.weights_bytes)} weights + {format_size(footprint.workspace_bytes)} workspace"
    return f"{format_size(footprint.total_bytes)} ({parts}, {footprint.label})"


MAX_ALTERNATIVES: Final = 3


class Bringing:
    """What `command` has to choose from."""

    def __init__(self, situation: Situation, command: Single) -> None:
        self._situation: Final = situation
        self._state: Final = situation.state
        self._policy: Final = situation.policy
        self._command: Final = command
        self._asked: Final = command.device if isinstance(command, Load | Move) else None
        self._adds: Final = isinstance(command, Load) and command.also

    def plan(
        self, model: ModelName, device: DeviceId | None, among: tuple[DeviceId, ...] | None = None
    ) -> Plan | Refusal:
        """Bring the model to `device`, else to the best of `among`, else to the best GPU, or the CPU where that may be."""
        known = self._state.models[model]
        if known.trouble:
            return Refusal(self._command, known.trouble)
        if under_way(self._state, model):
            return joining(self._command, self._state)
        candidates = (device,) if device else among or gpus(self._state) or (CPU,)
        offers = [offer(self._situation, model, d) for d in candidates]
        good = best_first(self._state, (o for o in offers if isinstance(o, Offer)), self._policy)
        why = _why_best(self._state, good, device)
        if good and device is None and candidates == (CPU,):
            why = f"there is no GPU here; {why}"
        none = [o for o in offers if not isinstance(o, Offer)]
        anywhere = device is None and among is None and CPU not in candidates
        if not good and anywhere and self._policy.cpu_fallback and not _soon(none):
            on_cpu = offer(self._situation, model, CPU)
            if isinstance(on_cpu, Offer):
                good, why = [on_cpu], f"CPU fallback: {no_room(self._command, known, none).reason}"
            else:
                none.append(on_cpu)
        if not good:
            budgets = [o.room for o in none]
            return over_any_budget(self._command, known, budgets, self._state) or no_room(self._command, known, none)
        return self._accept(model, good, none, why)

    def _accept(self, model: ModelName, good: list[Offer], none: list[NoOffer], why: str) -> Plan:
        best, *others = good
        others += self._elsewhere(model, best)
        victims = [self._victim(v) for v in best.victims]
        ready = [r for r in self._state.of(model) if r.stage == "ready"]
        load = replace(best.load, stays=tuple(r.device for r in ready) if self._adds else ())
        steps: list[Step] = [*with_write_backs(self._situation, victims, load), load]
        # a model that moves answers at its old place until the new one is ready, so it leaves that last
        if not self._adds:
            steps += [departure(self._state, r) for r in ready]
        lost = tuple(o.as_alternative(_why_lost(o, best, self._asked)) for o in others[:MAX_ALTERNATIVES])
        rooms = [o.room for o in good[: 1 + MAX_ALTERNATIVES]] + [o.room for o in none[:MAX_ALTERNATIVES]]
        reasons = (why_one_more(self._state, model, load.stays), why) if load.stays else (why,)
        return Plan(self._command, tuple(steps), reasons, lost, tuple(rooms))

    def _elsewhere(self, model: ModelName, best: Offer) -> list[Offer]:
        """What the GPUs that were not asked for would give, where the one that was asked for costs victims."""
        if self._asked in (None, CPU) or not best.victims or self._state.models[model].pin is not None:
            return []
        taken = {self._asked, *(r.device for r in self._state.of(model))}
        offers = (offer(self._situation, model, d) for d in gpus(self._state) if d not in taken)
        return best_first(self._state, (o for o in offers if isinstance(o, Offer)), self._policy)

    def _victim(self, resident: Resident) -> EvictStep:
        return EvictStep(
            resident.model,
            resident.device,
            resident.footprint.total_bytes,
            predicted=eviction(self._state, resident.model, resident.device),
            loss_s=loss_s(self._state, resident),
            reload_s=reload_s(self._state, resident),
            stays=_stays(self._state, resident),
        )


def departure(state: State, resident: Resident) -> EvictStep:
    """The step that takes it off its device, not as a victim."""
    return EvictStep(
        resident.model,
        resident.device,
        resident.footprint.total_bytes,
        resident.leases,
        victim=False,
        predicted=eviction(state, resident.model, resident.device),
        drain=drain_s(state, resident.model, resident.device),
        stays=_stays(state, resident),
    )


def _stays(state: State, resident: Resident) -> tuple[DeviceId, ...]:
    return tuple(r.device for r in state.beside(resident.model, resident.device))


def under_way(state: State, model: ModelName) -> tuple[Blocker, ...]:
    """Its loads that have not ended."""
    loading = (r for r in state.of(model) if r.stage in ("pending", "loading"))
    return tuple(Blocker(r.model, r.device, r.footprint.total_bytes, "loading") for r in loading)


def joining(command: Single, state: State) -> Plan:
    """The plan of a command for a model whose load is under way: to wait for that, and then to plan anew."""
    (loading, *_) = under_way(state, command.model)
    return Plan(command, (), (f"{command.model} is being loaded on {loading.device}; that is waited for",), joins=True)


def _soon(none: list[NoOffer]) -> bool:
    """Whether a device will have room in a moment: not worth going to the CPU for."""
    return any(blocker.why == "too young" for refused in none for blocker in refused.blockers)


def _why_best(state: State, good: list[Offer], asked: DeviceId | None) -> str:
    if not good:
        return ""
    best, others = good[0], good[1:]
    if not best.victims:
        return f"{best.device} has room: {format_room(best.free_after_bytes)} stay free in its budget"
    names = " and ".join(v.model for v in best.victims)
    copies = [bool(_stays(state, v)) for v in best.victims]
    of_what = "waiting" if all(copies) else "reloading and waiting" if any(copies) else "reloading"
    what = f"losing {names} is expected to cost {best.loss_s:.2f} s of {of_what}"
    full = "no device has" if asked is None else f"{asked} has not enough"
    return f"{full} room; {what}" + (f", less than on {others[0].device}" if others else "")


def _why_lost(lost: Offer, best: Offer, asked: DeviceId | None) -> str:
    if asked is not None:
        return f"{asked} was asked for"
    if lost.victims and not best.victims:
        return "something would have to leave"
    if lost.victims_cost > best.victims_cost:
        return f"its victims cost more to reload: {lost.loss_s:.2f} s against {best.loss_s:.2f} s"
    return f"as cheap; {best.device} is preferred or balances better"
