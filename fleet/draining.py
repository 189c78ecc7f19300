"""What emptying a box would do: each model that is on no other box goes to the cheapest bidder, and leaves only once it has come;
what is ready elsewhere leaves at once. Nothing is pushed out for it that is worth more, and what finds no room stays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TypeAlias

from msgspec import Struct

from engine.core.commands import Batch, Command, Evict, Load, Move, Single
from engine.core.names import BoxName, ModelName, on_box
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Drain, Gain, Proposal
from engine.core.state import Resident
from fleet.bids import plans_of, refusals
from fleet.boxes import Box
from fleet.core.choose import Ask, Bid, cheapest
from fleet.core.digest import COMING, drain_order
from fleet.sight import Sight

PlanOf: TypeAlias = Callable[[Command], Awaitable[Plan | Refusal]]
BidOf: TypeAlias = Callable[[BoxName, Plan], Bid]


class _Step(Struct, frozen=True):
    """What is done with one copy."""

    command: Single
    plan: Plan
    gain: Gain


class _Stays(Exception):
    """The model can't leave now; says why."""


async def drain_proposed(
    box: Box, boxes: Mapping[BoxName, Box], sight: Sight, plan_of: PlanOf, bid_of: BidOf
) -> Proposal:
    """A command for each model that can leave, those first whose absence would cost most; and, as reasons, what stays and why.
    Each is to be submitted by itself, and the rest proposed anew after it, since the next one's room depends on it."""
    steps, reasons = list[_Step](), list[str]()
    if box.standing != "ready":
        reasons.append(f"{box.name} is {box.standing} ({box.why}): what is on it stays there")
    else:
        for model, step in _Draft(box, boxes, sight, plan_of, bid_of).steps():
            try:
                steps.append(await step)
            except _Stays as stays:
                reasons.append(f"{model} stays on {box.name}: {stays}")
    batch = Batch(f"drain {box.name}", tuple(step.command for step in steps))
    parts = tuple(part for step in steps for part in step.plan.steps)
    why = tuple(dict.fromkeys(reason for step in steps for reason in step.plan.reasons))
    return Proposal(Drain(box.name), batch, Plan(batch, parts, why), tuple(step.gain for step in steps), tuple(reasons))


class _Draft:
    """The copies of a box that answers, one after the other."""

    def __init__(self, box: Box, boxes: Mapping[BoxName, Box], sight: Sight, plan_of: PlanOf, bid_of: BidOf) -> None:
        self._box = box
        self._boxes = boxes
        self._sight = sight
        self._plan_of = plan_of
        self._bid_of = bid_of

    def steps(self) -> Iterator[tuple[ModelName, Awaitable[_Step]]]:
        """What is done with each."""
        assert self._box.snapshot is not None  # it is ready
        state = self._box.snapshot.state
        copies = [one for one in state.residents if one.stage in ("ready", *COMING)]
        lost_s = drain_order(self._sight.view, self._box.name, state)
        for model in lost_s:
            yield model, self._to_another_box(next(one for one in copies if one.model == model), lost_s[model])
        for copy in copies:
            if copy.model not in lost_s:
                yield copy.model, self._off(copy)

    async def _to_another_box(self, copy: Resident, lost_s: float) -> _Step:
        """`lost_s`: what its absence would cost, and so the most that those who leave for it may. Raises _Stays."""
        model, view = copy.model, self._sight.view
        asked = await plans_of(self._boxes, self._sight.bidders(model, frozenset((self._box.name,))), Load(model))
        if not asked:
            raise _Stays("no other box that may hold it answers")
        plans = {name: plan for name, plan in asked.items() if isinstance(plan, Plan) and plan.load is not None}
        if not plans:
            raise _Stays(refusals(asked) or "it is about to be elsewhere")
        bids = [self._bid_of(name, plan) for name, plan in plans.items()]
        worth = [bid for bid in bids if bid.loss_s < lost_s or not plans[bid.box].victims]
        for bid in cheapest(worth, Ask((), view.order(model))):
            assert bid.device is not None  # its plan has a load
            target = on_box(bid.box, bid.device)
            return await self._planned(copy, Move(model, target), target, lost_s - bid.loss_s, f"{target} takes it")
        raise _Stays("what would have to leave another box for it is worth more")

    async def _off(self, copy: Resident) -> _Step:
        """Raises _Stays."""
        others = [
            on_box(name, one.device)
            for name in self._sight.view.open_boxes
            if name != self._box.name and (said := self._boxes[name].snapshot)
            for one in said.state.of(copy.model)
            if one.stage == "ready"
        ]
        if not others:
            raise _Stays("its copy elsewhere is not ready yet")
        command = Evict(copy.model, on_box(self._box.name, copy.device))
        return await self._planned(copy, command, None, 0.0, f"it is ready on {others[0]}")

    async def _planned(self, copy: Resident, command: Single, target: str | None, gain_s: float, why: str) -> _Step:
        """Raises _Stays."""
        plan = await self._plan_of(command)
        if isinstance(plan, Refusal):
            raise _Stays(plan.reason)
        source = on_box(self._box.name, copy.device)
        cost_s = (plan.predicted + plan.drains).p50_s
        return _Step(command, plan, Gain(copy.model, source, target, gain_s, cost_s, why))
