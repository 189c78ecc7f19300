"""The operator's choices that a plan depends on, as data. How they are acted on is the planner's business."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

Eviction: TypeAlias = Literal["expected_loss", "lru", "lfu", "gdsf", "ttl"]
Balancing: TypeAlias = Literal["spread", "pack", "most_free"]


class Policy(Struct, frozen=True):
    """How room is made, where models go, and what a request may set in motion."""

    eviction: Eviction = "expected_loss"
    """Which residents leave first; what each policy goes by is said in `planning.eviction`."""
    balancing: Balancing = "spread"
    """Among devices that cost the same: the one with the fewest models, the fullest, or the one with the most room."""
    cpu_fallback: bool = True
    """Whether a model that fits no GPU now may run on the CPU without the operator's word."""
    dynamic_loading: bool = True
    """Whether a request may load a model that is not ready; if not, only the operator does."""
    copies: bool = True
    """Whether a model may be made ready on further GPUs when its queue is worth more than what it costs; if not, only the
    operator does."""
    min_residency_s: Annotated[float, Meta(ge=0, le=3600, description="seconds from 0 to 3600")] = 2.0
    """For so long after it became ready a model is not a victim, so that two models don't chase each other."""
    idle_s: Annotated[float, Meta(ge=0, le=604_800, description="seconds from 0 to 604800")] = 0.0
    """A model that nothing has run on for so long leaves its device, and its weights leave the RAM tier after as long again.
    0: never for that. A pin goes before it, and so does what a model or a request says of its own."""
    yield_to_others: bool = True
    """Whether idle models leave by themselves when other programs take so much of a card that less is left than they stand on."""
    ttl_s: Annotated[float, Meta(ge=1, le=604_800, description="seconds from 1 to 604800")] = 300.0
    """With `ttl`: a model that nobody asked for in so long leaves before all others."""
