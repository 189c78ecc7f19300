"""Eviction policies: what each ranks by, whom it gives up, what it weighs, and what it remembers.

A policy is one object, asked alike for the victims on a device, for the slabs that the RAM tier lets go, for the victims whose
bytes are worth writing back, and for the models on the CPU that are worth a place on a GPU. Nobody outside this module asks
which policy is in force.

To add one: its name in `Eviction` (`core/policy.py`, which is the configuration's schema too), and here a class and its line in
`POLICIES`. Most are an order of leaving: a `_LeavingOrder` with a `rank` and a `rule`. What it has to remember beside the demand
goes into `State.memory`, by `asked` and `left`, which the scheduler and the replay call.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from engine.core.forecast.costs import loss_s, reload_s
from engine.core.forecast.demand import expected_requests, requests_in_a_run
from engine.core.forecast.run_costs import lost_on_cpu_s
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.knapsack_cover import Candidate, Need, cheapest_cover, cost_bounds, first_cover, leading_cover
from engine.core.plans import Plan
from engine.core.policy import Eviction, Policy
from engine.core.state import Resident, Situation, State


class Leaver(Struct, frozen=True):
    """A model that may leave some place."""

    model: ModelName
    size_bytes: int
    """What its leaving frees."""
    reload_s: float
    """What bringing it back is predicted to take."""
    copy_loss_s: float | None = None
    """Of a copy whose model stays ready elsewhere: what requests are expected to wait without it, instead of for a reload."""


class VictimSet(Struct, frozen=True):
    """The models that leave, in the order in which they would."""

    models: tuple[ModelName, ...]
    freed_bytes: int
    cost: tuple[float, ...]
    """Compares choices of one policy, lowest first: what the policy weighs."""


class WriteBack(Struct, frozen=True):
    """A victim's bytes that may go back to the RAM tier."""

    returning: Candidate
    copy_s: float
    need: Need
    """What must leave the tier if they do."""
    anyway: Need
    """What must leave it if they don't: it may be short already."""


class EvictionPolicy(ABC):
    """What a policy is asked. It keeps nothing itself: what it remembers is in the state. `ordered` is what its `order` gave."""

    @abstractmethod
    def rule(self, policy: Policy) -> str:
        """Who leaves under it, in words that end a sentence."""

    @abstractmethod
    def rank(self, situation: Situation, leaver: Leaver) -> float:
        """What it holds against the leaving of `leaver`; never negative."""

    def rank_on_cpu(self, situation: Situation, leaver: Leaver, lost_s: float) -> float:
        """What it holds against keeping `leaver` on the CPU, where each request takes `lost_s` longer. An order that knows no
        seconds ranks it as if it were on a GPU."""
        return self.rank(situation, replace(leaver, reload_s=lost_s))

    @abstractmethod
    def order(self, situation: Situation, leavers: Iterable[Leaver]) -> list[Candidate]:
        """`leavers` as they would leave one by one, each with its rank for a cost."""

    @abstractmethod
    def choose(self, ordered: Sequence[Candidate], need: Need) -> tuple[Candidate, ...] | None:
        """The victims on a device that meet `need`; None when all together do not."""

    @abstractmethod
    def choose_slabs(self, ordered: Sequence[Candidate], need: Need) -> tuple[Candidate, ...] | None:
        """The same for slabs in the RAM tier."""

    @abstractmethod
    def weigh(self, costs: Iterable[float]) -> tuple[float, ...]:
        """What speaks against the leaving of several together, by the cost of each. The lowest is the best choice."""

    @abstractmethod
    def keeps(self, ordered: Sequence[Candidate], back: WriteBack) -> bool:
        """Whether a victim's bytes are worth writing back to the RAM tier. `ordered`: what rests there, and `back.returning`."""

    def asked(self, state: State, model: ModelName) -> State:
        """`state` with what it remembers of a request for `model`, which is to be counted."""
        return state

    def left(self, state: State, model: ModelName, device: DeviceId) -> State:
        """`state` with what it remembers of `model`, which was ready on `device` and is past rescue there."""
        return state


class _ExpectedLoss(EvictionPolicy):
    """The cheapest to lose: requests expected × seconds of reloading. Losses add up, so it gives up the cheapest *set*."""

    def rule(self, policy: Policy) -> str:
        return "the set whose loss costs the fewest expected seconds: decayed demand × predicted reload time"

    def rank(self, situation: Situation, leaver: Leaver) -> float:
        if leaver.copy_loss_s is not None:
            return leaver.copy_loss_s
        return expected_requests(situation.state, leaver.model) * leaver.reload_s

    def rank_on_cpu(self, situation: Situation, leaver: Leaver, lost_s: float) -> float:
        """Of several requests in a row, a reload would keep the first one waiting; a slow CPU does so with each of them."""
        in_a_row = requests_in_a_run(situation.state.models[leaver.model].demand)
        return super().rank_on_cpu(situation, leaver, lost_s) * in_a_row

    def order(self, situation: Situation, leavers: Iterable[Leaver]) -> list[Candidate]:
        found = [Candidate(x.model, x.size_bytes, self.rank(situation, x)) for x in leavers]
        return sorted(found, key=lambda c: (c.cost / max(c.size_bytes, 1), c.name))

    def choose(self, ordered: Sequence[Candidate], need: Need) -> tuple[Candidate, ...] | None:
        return cheapest_cover(ordered, need)

    def choose_slabs(self, ordered: Sequence[Candidate], need: Need) -> tuple[Candidate, ...] | None:
        return cheapest_cover(ordered, need)

    def weigh(self, costs: Iterable[float]) -> tuple[float, ...]:
        return (sum(costs),)

    def keeps(self, ordered: Sequence[Candidate], back: WriteBack) -> bool:
        """Whether keeping the bytes, less what must leave for them, is expected to save more reading than the copy takes."""
        # The price of the place is what leaves the tier for it, less what leaves anyway, since the tier is short already. Each of
        # these sets would take a search, at every departure from a GPU; bounds of their costs take a sort. So first: does it pay
        # at the lowest price that the bounds allow? Then: does it even at the highest? Only in between are the sets searched for.
        returning = back.returning
        others = [c for c in ordered if c is not returning]
        least_s, most_s = cost_bounds(others, back.need)
        if math.isinf(least_s):
            return False
        least_anyway_s, most_anyway_s = cost_bounds(others, back.anyway)
        if returning.cost - least_s + most_anyway_s <= back.copy_s:
            return False
        if most_s < returning.cost and returning.cost - most_s + least_anyway_s > back.copy_s:
            return True
        displaced = cheapest_cover(ordered, back.need) or ()
        if returning in displaced:
            return False
        saved_s = returning.cost - _cost_s(displaced) + _cost_s(cheapest_cover(others, back.anyway) or ())
        return saved_s > back.copy_s


def _cost_s(cover: Iterable[Candidate]) -> float:
    return sum(c.cost for c in cover)


class _LeavingOrder(EvictionPolicy):
    """One after the other, by rank; of two that rank alike, the one that is back sooner first. Copies leave before all others:
    an order knows no seconds that they could be worth.

    Ranks of an order are no amounts: two that leave early are not as bad as one that leaves late. So several weigh as much as
    the one of them that would leave last, then the one before.
    """

    def order(self, situation: Situation, leavers: Iterable[Leaver]) -> list[Candidate]:
        found = [
            (
                Candidate(x.model, x.size_bytes, 0.0 if x.copy_loss_s is not None else self.rank(situation, x)),
                x.reload_s,
            )
            for x in leavers
        ]
        found.sort(key=lambda pair: (pair[0].cost, pair[1], pair[0].name))
        return [candidate for candidate, _ in found]

    def choose(self, ordered: Sequence[Candidate], need: Need) -> tuple[Candidate, ...] | None:
        """Those are spared that the ones before make superfluous: each is a reload that somebody waits for."""
        return first_cover(ordered, need)

    def choose_slabs(self, ordered: Sequence[Candidate], need: Need) -> tuple[Candidate, ...] | None:
        """Nobody is spared: who stays in the tier only because its size happened not to be needed would be out of the order."""
        return leading_cover(ordered, need)

    def weigh(self, costs: Iterable[float]) -> tuple[float, ...]:
        return tuple(sorted(costs, reverse=True))

    def keeps(self, ordered: Sequence[Candidate], back: WriteBack) -> bool:
        """Whether others leave the tier before it would, however long the copy takes: an order knows no seconds."""
        displaced = leading_cover(ordered, back.need)
        return displaced is not None and back.returning not in displaced


class _Lru(_LeavingOrder):
    """The longest unused first."""

    def rule(self, policy: Policy) -> str:
        return "the models that have been unused for longest"

    def rank(self, situation: Situation, leaver: Leaver) -> float:
        return situation.state.models[leaver.model].demand.last_s or 0.0


class _Lfu(_LeavingOrder):
    """The least used first."""

    def rule(self, policy: Policy) -> str:
        return "the models that are asked for least"

    def rank(self, situation: Situation, leaver: Leaver) -> float:
        return float(situation.state.models[leaver.model].demand.requests)


class _Gdsf(_LeavingOrder):
    """GreedyDual with size and frequency, the policy of many web caches.

    A model's priority is what it was used and what it costs to bring back for each byte, above an inflation that rises to the
    highest priority that has left: whoever is not asked for any more is overtaken in the end. Cherkasova, "Improving WWW proxies
    performance with Greedy-Dual-Size-Frequency caching policy", HP Labs HPL-98-69R1, 1998.

    It remembers the inflation, and for each model the one at its last request. Neither follows from the demand: they say what
    has left before, and how dear that was then.
    """

    _GB: Final = 1e9

    def rule(self, policy: Policy) -> str:
        return "the models of the lowest GreedyDual priority: use × reload time ÷ size, aged by what has left before"

    def rank(self, situation: Situation, leaver: Leaver) -> float:
        return self._priority(situation.state, leaver)

    def asked(self, state: State, model: ModelName) -> State:
        memory = state.memory
        return replace(state, memory=replace(memory, of_models={**memory.of_models, model: memory.overall}))

    def left(self, state: State, model: ModelName, device: DeviceId) -> State:
        leaving = state.find(model, device)
        if leaving is None or state.beside(
            model, device
        ):  # what leaves as a copy says nothing of what is worth keeping
            return state
        taken = self._priority(state, leaver_of(state, leaving))
        return replace(state, memory=replace(state.memory, overall=max(state.memory.overall, taken)))

    def _priority(self, state: State, leaver: Leaver) -> float:
        """Requests × seconds of reloading for each GB, above the inflation at the last request."""
        inflation = state.memory.of_models.get(leaver.model, 0.0)
        requests = state.models[leaver.model].demand.requests
        return inflation + requests * leaver.reload_s * self._GB / max(leaver.size_bytes, 1)


class _Ttl(_LeavingOrder):
    """Those idle for `ttl_s` first, the soonest back before the others; then the longest unused."""

    def rule(self, policy: Policy) -> str:
        return f"models that nobody asked for in {policy.ttl_s:g} s, then those unused for longest"

    def rank(self, situation: Situation, leaver: Leaver) -> float:
        last_s = situation.state.models[leaver.model].demand.last_s or 0.0
        return last_s if situation.now_s - last_s < situation.policy.ttl_s else 0.0


POLICIES: Final[dict[Eviction, EvictionPolicy]] = {
    "expected_loss": _ExpectedLoss(),
    "lru": _Lru(),
    "lfu": _Lfu(),
    "gdsf": _Gdsf(),
    "ttl": _Ttl(),
}


def eviction_policy(policy: Policy) -> EvictionPolicy:
    """The one that the operator has chosen."""
    return POLICIES[policy.eviction]


def victims(situation: Situation, leavers: Sequence[Leaver], need: Need) -> VictimSet | None:
    """Those of `leavers` that the policy gives up to meet `need`; None when all together do not meet it."""
    if need.is_met:
        return VictimSet((), 0, ())
    eviction = eviction_policy(situation.policy)
    cover = eviction.choose(eviction.order(situation, leavers), need)
    if cover is None:
        return None
    weight = eviction.weigh(c.cost for c in cover)
    return VictimSet(tuple(c.name for c in cover), sum(c.size_bytes for c in cover), weight)


def worth_promoting(situation: Situation, found: Plan) -> bool:
    """Whether the model that `found` loads is worth its victims: it answers on the CPU, and nobody waits for it.

    It is if the policy holds no less against its staying on the CPU than against their leaving. By what its runs take longer
    there, once they have been measured on both; until then by what its reload would take, were it on the GPU and to leave.
    """
    if found.load is None:
        return False
    state, eviction = situation.state, eviction_policy(situation.policy)
    leaver = _leaver_on(state, found.load.model, found.load.device)
    lost_s = lost_on_cpu_s(state, leaver.model, CPU, found.load.device)
    coming = eviction.rank(situation, leaver) if lost_s is None else eviction.rank_on_cpu(situation, leaver, lost_s)
    victims = [r for v in found.victims if (r := state.find(v.model, v.device)) is not None]
    leaving = [c.cost for c in eviction.order(situation, [leaver_of(state, r) for r in victims])]
    # only the head of the weight: with an order, how many leave beside the last of them must not decide between equals
    return eviction.weigh(leaving)[:1] <= eviction.weigh([coming])


def leaver_of(state: State, resident: Resident) -> Leaver:
    """`resident` as one that may leave its device."""
    copy_loss_s = loss_s(state, resident) if state.beside(resident.model, resident.device) else None
    return Leaver(resident.model, resident.footprint.total_bytes, reload_s(state, resident), copy_loss_s)


def _leaver_on(state: State, model: ModelName, device: DeviceId) -> Leaver:
    """`model` as it would be on `device` by what is known of it now."""
    return leaver_of(state, Resident(model, device, "ready", state.models[model].footprint, 0.0))
