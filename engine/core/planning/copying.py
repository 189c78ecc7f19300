"""Whether one more copy of a model is worth its place: what its requests are expected to wait less, against the load and what
losing its victims is expected to cost, all in seconds within the same next requests."""

from __future__ import annotations

from engine.core.forecast.costs import load_step
from engine.core.forecast.queueing import mean_waits_s, saved_s
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import Plan
from engine.core.state import State


def may_pay(state: State, model: ModelName) -> bool:
    """Whether a further copy of `model` would be worth its load somewhere, were there room for it: cheap enough to ask at each
    request."""
    here = state.of(model)
    if not here or any(r.stage != "ready" or r.device == CPU for r in here):
        return False
    saved = saved_s(state, model, len(here))
    others = (device for device in state.devices if device != CPU and state.find(model, device) is None)
    return saved > 0 and any(saved > load_step(state, model, device).predicted.p50_s for device in others)


def pays(state: State, found: Plan) -> bool:
    """Whether the copy that `found` loads is expected to save more than it costs. One that would have to be read from disk is
    made in free room only, or in the place of other copies: the disk is what first copies wait for, and pushing those off their
    places meanwhile makes more such reading than the figures of one load can tell."""
    if found.load is None or not found.load.stays:
        return False
    if found.load.tier != "ram" and any(not victim.stays for victim in found.victims):
        return False
    lost_s = sum(victim.loss_s or 0.0 for victim in found.victims)
    return saved_s(state, found.load.model, len(found.load.stays)) > found.load.predicted.p50_s + lost_s


def why_one_more(state: State, model: ModelName, stays: tuple[DeviceId, ...]) -> str:
    """What one more copy beside those on `stays` is expected to do for requests, in words."""
    waits_s = mean_waits_s(state, model)
    if len(stays) >= len(waits_s):
        return "no queue of its requests has been measured yet"
    before_s, after_s = waits_s[len(stays) - 1 : len(stays) + 1]
    copies = "one copy" if len(stays) == 1 else f"{len(stays)} copies"
    return f"requests wait {before_s:.2f} s on average for {copies}, {after_s:.2f} s for {len(stays) + 1}"
