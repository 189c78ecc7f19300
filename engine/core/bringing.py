"""Having a model on a device: the offer that is taken, its victims out, the model in, and off the device where it was."""

from __future__ import annotations

from typing import Final

from engine.core.commands import Load, Move, Single
from engine.core.copying_back import with_copies_back
from engine.core.forecast.costs import eviction, loss_s, reload_s
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.placement import NoOffer, Offer, best_first, gpus, offer
from engine.core.plans import Blocker, EvictStep, Plan, Refusal, Step
from engine.core.policy import Policy
from engine.core.refusals import no_room, over_any_budget
from engine.core.sizes import format_size
from engine.core.state import Resident, State

MAX_ALTERNATIVES: Final = 3


class Bringing:
    """What `command` in `state` has to choose from."""

    def __init__(self, state: State, command: Single, policy: Policy, now_s: float) -> None:
        self._state: Final = state
        self._command: Final = command
        self._policy: Final = policy
        self._now_s: Final = now_s
        self._asked: Final = command.device if isinstance(command, Load | Move) else None

    def plan(
        self, model: ModelName, device: DeviceId | None, among: tuple[DeviceId, ...] | None = None
    ) -> Plan | Refusal:
        """Bring the model to `device`, else to the best of `among`, else to the best GPU, or the CPU where that may be."""
        known = self._state.models[model]
        if known.trouble:
            return Refusal(self._command, known.trouble)
        if loading := under_way(self._state, model):
            advice = ("wait, or cancel the load",)
            return Refusal(self._command, f"{model} is being loaded", blockers=loading, advice=advice)
        candidates = (device,) if device else among or gpus(self._state) or (CPU,)
        offers = [offer(self._state, model, d, self._policy, self._now_s) for d in candidates]
        good = best_first(self._state, (o for o in offers if isinstance(o, Offer)), self._policy)
        why = _why_best(good, device)
        none = [o for o in offers if not isinstance(o, Offer)]
        anywhere = device is None and among is None and CPU not in candidates
        if not good and anywhere and self._policy.cpu_fallback and not _soon(none):
            on_cpu = offer(self._state, model, CPU, self._policy, self._now_s)
            if isinstance(on_cpu, Offer):
                good, why = [on_cpu], f"CPU fallback: {no_room(self._command, known, none).reason}"
            else:
                none.append(on_cpu)
        if not good:
            budgets = [o.room for o in none]
            return over_any_budget(self._command, known, budgets) or no_room(self._command, known, none)
        return self._accept(model, good, none, why)

    def _accept(self, model: ModelName, good: list[Offer], none: list[NoOffer], why: str) -> Plan:
        best, *others = good
        others += self._elsewhere(model, best)
        victims = [self._victim(v) for v in best.victims]
        steps: list[Step] = [*with_copies_back(self._state, victims, best.load, self._policy, self._now_s), best.load]
        steps += [departure(self._state, r) for r in self._state.of(model) if r.stage == "ready"]
        lost = tuple(o.as_alternative(_why_lost(o, best, self._asked)) for o in others[:MAX_ALTERNATIVES])
        rooms = [o.room for o in good[: 1 + MAX_ALTERNATIVES]] + [o.room for o in none[:MAX_ALTERNATIVES]]
        return Plan(self._command, tuple(steps), (why,), lost, tuple(rooms))

    def _elsewhere(self, model: ModelName, best: Offer) -> list[Offer]:
        """What the GPUs that were not asked for would give, where the one that was asked for costs victims."""
        if self._asked in (None, CPU) or not best.victims or self._state.models[model].pin is not None:
            return []
        taken = {self._asked, *(r.device for r in self._state.of(model))}
        offers = (offer(self._state, model, d, self._policy, self._now_s) for d in gpus(self._state) if d not in taken)
        return best_first(self._state, (o for o in offers if isinstance(o, Offer)), self._policy)

    def _victim(self, resident: Resident) -> EvictStep:
        return EvictStep(
            resident.model,
            resident.device,
            resident.footprint.total_bytes,
            predicted=eviction(self._state, resident.model, resident.device),
            loss_s=loss_s(self._state, resident),
            reload_s=reload_s(self._state, resident),
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
    )


def under_way(state: State, model: ModelName) -> tuple[Blocker, ...]:
    """Its loads that have not ended."""
    loading = (r for r in state.of(model) if r.stage in ("pending", "loading"))
    return tuple(Blocker(r.model, r.device, r.footprint.total_bytes, "loading") for r in loading)


def _soon(none: list[NoOffer]) -> bool:
    """Whether a device will have room in a moment: not worth going to the CPU for."""
    return any(blocker.why == "too young" for refused in none for blocker in refused.blockers)


def _why_best(good: list[Offer], asked: DeviceId | None) -> str:
    if not good:
        return ""
    best, others = good[0], good[1:]
    if not best.victims:
        return f"{best.device} has room: {format_size(best.free_after_bytes)} stay free in its budget"
    names = " and ".join(v.model for v in best.victims)
    what = f"losing {names} is expected to cost {best.loss_s:.2f} s of reloading"
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
