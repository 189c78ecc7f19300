"""How full the GPUs could have been for what was asked: whether it is the policy that left room empty, or the models' sizes."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from engine.core.names import DeviceId, ModelName
from engine.core.proposing.multiple_knapsack import Item, assign


class Fullest(Struct, frozen=True):
    """The fullest arrangements, each model in one place, as shares of all budgets together."""

    share: float
    """Mean over the requests: each with its own model on a GPU, and around it what fills them best."""
    model: ModelName
    """The one whose requests leave most empty, however the others stand."""
    model_share: float
    """How full the GPUs can be at most while it is there."""
    room_bytes: int
    """The largest room on one GPU that is left then: a model that fits it would fill more."""


def fullest(
    asked: Mapping[ModelName, int], sizes: Mapping[ModelName, int], budgets: Mapping[DeviceId, int]
) -> Fullest | None:
    """For so many requests a model, of so many bytes each, on GPUs of so many bytes; None where none of them fits any.

    Copies are left out: nobody is served by bytes that only fill a place.
    """
    known = {model: sizes[model] for model in asked if 0 < sizes.get(model, 0) <= max(budgets.values(), default=0)}
    if not known:
        return None
    found = {model: _around(model, known, budgets) for model in known}
    requests = sum(asked[model] for model in known)
    mean = sum(asked[model] * found[model].model_share for model in known) / requests
    return replace(min(found.values(), key=lambda one: one.model_share), share=mean)


def _around(model: ModelName, sizes: Mapping[ModelName, int], budgets: Mapping[DeviceId, int]) -> Fullest:
    """What fills the GPUs best while `model` is on one of them."""
    others = [Item(name, size_bytes, float(size_bytes)) for name, size_bytes in sizes.items() if name != model]
    best = Fullest(0.0, model, 0.0, 0)
    for device, budget_bytes in budgets.items():
        if sizes[model] > budget_bytes:
            continue
        left = {**budgets, device: budget_bytes - sizes[model]}
        placements = assign(others, left).placements
        for name, where in placements.items():
            left[where] -= sizes[name]
        share = 1 - sum(left.values()) / sum(budgets.values())
        if share > best.model_share:
            best = Fullest(share, model, share, max(left.values()))
    return best
