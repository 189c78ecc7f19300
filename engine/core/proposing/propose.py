"""`propose()`: the batch that answers a wish in a state, or why there is none. Pure, total and deterministic.

Kept apart: it is the one door to rebalance, drain and undo, none of which knows the others. The scheduler, which only remembers
what to undo, gets by without their searches.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from engine.core.commands import Batch
from engine.core.planning.planner import plan
from engine.core.plans import Blocker, Plan, Refusal
from engine.core.policy import Policy
from engine.core.proposals import Drain, Pack, Proposal, Rebalance, Undo, Wish
from engine.core.proposing.drain import drained, packed
from engine.core.proposing.rebalance import rebalanced
from engine.core.proposing.undo import taken_back
from engine.core.state import Situation, State


def propose(state: State, wish: Wish, policy: Policy, now_s: float) -> Proposal | Refusal:
    """What would answer `wish`. Nothing leaves for it that the batch does not name."""
    found = _proposed(Situation(state, policy, now_s), wish)
    if isinstance(found, Proposal) and found.plan.joins:
        # A proposal is looked at as it is now; one that had to wait first would be another one by then.
        return Refusal(found.command, "; ".join(found.plan.reasons), advice=("ask again when it has been loaded",))
    return found


def _proposed(situation: Situation, wish: Wish) -> Proposal | Refusal:
    match wish:
        case Undo():
            return _undo(situation, wish)
        case Rebalance():
            return rebalanced(situation, wish)
        case Drain():
            return drained(situation, wish)
        case Pack():
            return packed(situation, wish)
        case _:
            assert_never(wish)


def _undo(situation: Situation, wish: Undo) -> Proposal | Refusal:
    """The newest change of which something is left to take back."""
    state = situation.state
    drifted: tuple[str, ...] = ()
    # A change of which nothing is left is passed over, not a dead end: the engine may have moved everything since. Why it was
    # passed over is told with whatever is found, or with the refusal.
    for change in reversed(state.changes):
        back = taken_back(state, change)
        drifted += tuple(f"{change.title}: {words}" for words in back.drifted)
        if back.batch.commands:
            found = plan(state, back.batch, situation.policy, situation.now_s)
            if isinstance(found, Refusal):
                return replace(found, reason=f"it no longer fits: {found.reason}")
            return _in_the_way(found) or Proposal(wish, back.batch, found, reasons=drifted)
    reason = "there is nothing to take back" + ("; what you did has been overtaken since" if drifted else "")
    return Refusal(Batch("undo", ()), reason, advice=drifted)


def _in_the_way(found: Plan) -> Refusal | None:
    """The refusal of an undo that would push somebody out: the engine's own decisions since then stand."""
    if not found.victims:
        return None
    names = " and ".join(v.model for v in found.victims)
    blockers = tuple(Blocker(v.model, v.device, v.size_bytes, "came since") for v in found.victims)
    advice = tuple(f"evict {v.model} first, if it may leave" for v in found.victims)
    return Refusal(found.command, f"it no longer fits: {names} would have to leave", blockers=blockers, advice=advice)
