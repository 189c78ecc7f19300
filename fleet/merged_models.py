"""A model as several boxes have it, as one: what they agree on, what adds up, and where they differ, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from engine.core.insight.request_figures import RequestFigures
from engine.core.models import ModelSpec, Pin
from engine.core.names import BoxName, DeviceId, on_box
from engine.core.state import Demand, ModelState
from fleet.naming import on


def merged_model(known: Mapping[BoxName, ModelState], here: Mapping[BoxName, Sequence[DeviceId]]) -> ModelState:
    """The model as the first box has it that `known` names, and what the others add. `here`: where it is on each, as the box
    calls its devices."""
    (first_box, first), *others = known.items()
    remarks = [first.remark, *(_difference(box, first.spec, other.spec) for box, other in others)]
    pin, pin_remark = _pin(known, here)
    return replace(
        first,
        spec=on(first_box, first.spec),
        prepared=any(one.prepared for one in known.values()),
        pin=pin,
        demand=_demand([one.demand for one in known.values()]),
        run_rates={kind: rates for one in (*known.values(), first) for kind, rates in one.run_rates.items()},
        trouble=_trouble(known),
        in_page_cache=any(one.in_page_cache for one in known.values()),
        remark="; ".join(filter(None, (*remarks, pin_remark))),
    )


def merged_figures(told: Sequence[RequestFigures]) -> RequestFigures:
    """Counts and rates add up. Times can't be put together from medians: they are those of the box that answered most."""
    busiest = max(told, key=lambda one: one.answered)
    return replace(
        busiest,
        waiting=sum(one.waiting for one in told),
        in_flight=sum(one.in_flight for one in told),
        per_s=sum(one.per_s for one in told),
        failed=sum(one.failed for one in told),
        refused=sum(one.refused for one in told),
        left=sum(one.left for one in told),
        ever_answered=sum(one.ever_answered for one in told),
        ever_done=sum(one.ever_done for one in told),
    )


def _demand(each: Sequence[Demand]) -> Demand:
    """What was asked for altogether. How it is remembered is the first box's own: it counts in requests of that engine."""
    return replace(
        each[0],
        requests=sum(one.requests for one in each),
        last_s=max((one.last_s for one in each if one.last_s is not None), default=None),
        per_minute=sum(one.per_minute for one in each),
        counted=sum(one.counted for one in each),
    )


def _trouble(known: Mapping[BoxName, ModelState]) -> str:
    """Why it can be loaded on no box; empty where one can."""
    if not all(one.trouble for one in known.values()):
        return ""
    reasons = dict.fromkeys(one.trouble for one in known.values())
    if len(reasons) == 1:
        return next(iter(reasons))
    return "; ".join(f"{box}: {one.trouble}" for box, one in known.items())


def _pin(known: Mapping[BoxName, ModelState], here: Mapping[BoxName, Sequence[DeviceId]]) -> tuple[Pin | None, str]:
    """The first box's pin of those that have one, and which others have one, too. Where there are copies elsewhere it names the
    device that it holds, or nobody could tell which is meant."""
    pinning = [box for box, one in known.items() if one.pin is not None]
    if not pinning:
        return None, ""
    box = pinning[0]
    pin = known[box].pin or Pin()
    is_elsewhere = any(devices for other, devices in here.items() if other != box)
    device = pin.device or (here[box][0] if is_elsewhere and here[box] else None)
    also = f"it is pinned on {', '.join(pinning[1:])}, too" if len(pinning) > 1 else ""
    return Pin(None if device is None else on_box(box, device)), also


def _difference(box: BoxName, first: ModelSpec, other: ModelSpec) -> str:
    """What `box` has otherwise than the first one, in words; empty for the same model."""
    said = [
        f"{what} {there}, not {here}"
        for what, here, there in (
            ("task", first.task, other.task),
            ("dtype", first.dtype, other.dtype),
            ("sources", " or ".join(first.sources), " or ".join(other.sources)),
            ("revision", first.revision, other.revision),
            ("sha256", first.sha256, other.sha256),
            ("max_batch", first.limits.max_batch, other.limits.max_batch),
            ("max_sequence", first.limits.max_sequence, other.limits.max_sequence),
        )
        if here != there
    ]
    return f"{box} has it otherwise: {'; '.join(said)}" if said else ""
