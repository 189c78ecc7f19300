"""How many bytes a model needs on a device: estimated from its architecture, then learned from its runs.

A footprint says what a model needs at its limits, so that any request within them finds room. Runs that came near the limits
can therefore lower it below the estimate, and small ones can only raise it: a model that is asked for one line at a time would
otherwise be charged next to nothing, and its first large request would find the device full.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from statistics import quantiles
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from engine.core.models import (
    DTYPE_BYTES,
    NF4_AT_ONCE,
    NF4_UNPACKING_BYTES,
    WEIGHT_ONLY,
    Dtype,
    Footprint,
    Limits,
    RunRange,
    whole_pages,
)
from engine.core.sizes import MIB
from engine.core.tasks import TaskKind

LIVE_HIDDEN_STATES: Final = 6
"""Tensors of hidden size that live at once in a layer: residual, normed, query, key, value, attention output."""
ALLOCATOR_SLACK: Final = 1.25
FUSED_MATRICES: Final = 2
"""The widest matrix of a gated feed-forward layer holds the gate, too, in some families."""
LOGIT_BYTES: Final = 4
"""Generation turns the last position's logits into float32 before it picks a token."""


class Architecture(Struct, frozen=True):
    """The sizes of a transformer that its memory depends on."""

    hidden: int
    intermediate: int
    layers: int
    kv_heads: int
    head_dim: int
    vocab: int


def estimate(weights_bytes: int, architecture: Architecture, limits: Limits, task: TaskKind, dtype: Dtype) -> Footprint:
    """The footprint at the model's limits.

    With tokens = max_batch · max_sequence and b = bytes of the dtype:

    - activations: 1.25 · tokens · (intermediate + 6 · hidden) · b, the widest layer's live tensors and some slack;
    - generation adds the KV cache, 2 · layers · kv_heads · head_dim · tokens · b, and one row of float32 logits
      for each sequence, vocab · 4 · max_batch;
    - weight-only dtypes add the widest matrix as it is multiplied with, 2 · hidden · intermediate · b, and nf4 what unpacking
      a part of it takes.
    """
    tokens = limits.max_batch * limits.max_sequence
    element_bytes = DTYPE_BYTES[dtype]
    width = architecture.intermediate + LIVE_HIDDEN_STATES * architecture.hidden
    workspace_bytes = int(ALLOCATOR_SLACK * tokens * width * element_bytes)
    if task == "generation":
        kv_width = 2 * architecture.layers * architecture.kv_heads * architecture.head_dim
        workspace_bytes += kv_width * tokens * element_bytes
        workspace_bytes += architecture.vocab * LOGIT_BYTES * limits.max_batch
    if dtype in WEIGHT_ONLY:
        widest = FUSED_MATRICES * architecture.hidden * architecture.intermediate
        workspace_bytes += widest * element_bytes
        if dtype in ("nf4", "nf4-double"):
            workspace_bytes += NF4_UNPACKING_BYTES * min(widest, NF4_AT_ONCE)
    return Footprint(weights_bytes=weights_bytes, workspace_bytes=workspace_bytes)


KEPT_RUNS: Final = 100
"""So many of the newest runs count: a model that is used differently from today on is charged differently soon."""
ENOUGH_RUNS: Final = 20
"""The fewest of which the 95th percentile is more than the largest or the second largest."""
NEAR_LIMITS: Final = 0.75
"""A run that filled so much of what the limits allow tells what they take. Further away the part of the memory that grows
with the square of the sequence would be understated."""
MARGIN_PERCENT: Final = 10
"""For what the allocator can't use between its blocks, and for the twentieth run."""


class RunPeaks(Struct, frozen=True):
    """Of one model on one kind of device, newest last, in bytes beside the weights."""

    taken: tuple[int, ...] = ()
    """What runs took."""
    at_limits: tuple[int, ...] = ()
    """What runs near the limits would have taken at them."""
    count: int = 0
    """Runs seen since the start, or since one came short."""
    short_bytes: int = 0
    """Twice what the model was charged when a run found too little; what earlier runs took was forgotten then."""


def observed(peaks: RunPeaks, workspace_bytes: int, filled: float) -> RunPeaks:
    """`peaks` with one more run, which took `workspace_bytes` and filled that share of what the limits allow, 0 to 1.

    Activations and the KV cache grow in proportion to the tokens; by that rule a run near the limits is taken to the limits.
    """
    at_limits = (*peaks.at_limits, ceil(workspace_bytes / filled)) if filled >= NEAR_LIMITS else peaks.at_limits
    taken = (*peaks.taken, workspace_bytes)
    return replace(peaks, taken=taken[-KEPT_RUNS:], at_limits=at_limits[-KEPT_RUNS:], count=peaks.count + 1)


def came_short(charged_bytes: int) -> RunPeaks:
    """What is known after a run found too little with `charged_bytes` of workspace: that, and nothing else any more."""
    return RunPeaks(short_bytes=2 * charged_bytes)


def learned_bytes(peaks: RunPeaks, estimated_bytes: int) -> int | None:
    """The workspace that `peaks` teach, in whole MiB; None while the estimate stands.

    The 95th percentile of at least 20 runs and a tenth more: of those near the limits, whatever the estimate was; of all, as
    long as that is more than the estimate.
    """
    if len(peaks.at_limits) >= ENOUGH_RUNS:
        return _with_margin(peaks.at_limits)
    seen_bytes = _with_margin(peaks.taken) if len(peaks.taken) >= ENOUGH_RUNS else 0
    least_bytes = max(peaks.short_bytes, seen_bytes)
    return least_bytes if least_bytes > estimated_bytes else None


def fitted(known: Footprint, estimated_bytes: int, cards: Iterable[RunPeaks], others: Iterable[RunPeaks]) -> Footprint:
    """`known` with the workspace that its runs teach: the most that any kind of device needs, since a model has one
    footprint and may be placed on each.

    `cards`: one for each kind of card that there is; a kind that has taught nothing yet needs the estimate. `others`: of
    devices that can't tell what runs take, only that one came short.
    """
    cards, others = tuple(cards), tuple(others)
    on_cards = [learned_bytes(peaks, estimated_bytes) for peaks in cards]
    lessons = [b for b in (*on_cards, *(learned_bytes(p, estimated_bytes) for p in others)) if b is not None]
    estimate_stands = None in on_cards or not cards
    workspace_bytes = max([*lessons, estimated_bytes] if estimate_stands else lessons)
    before = "measured" if known.label == "learned" else known.label
    label = "learned" if workspace_bytes in lessons else before
    return whole_pages(Footprint(known.weights_bytes, workspace_bytes, label, _range((*cards, *others))))


def _with_margin(peaks: tuple[int, ...]) -> int:
    percentile_bytes = quantiles(peaks, n=20, method="inclusive")[-1]
    return ceil(percentile_bytes * (100 + MARGIN_PERCENT) / 100 / MIB) * MIB


def _range(kinds: Iterable[RunPeaks]) -> RunRange | None:
    kinds = [peaks for peaks in kinds if peaks.taken]
    if not kinds:
        return None
    return RunRange(
        count=sum(peaks.count for peaks in kinds),
        near_limits=sum(len(peaks.at_limits) for peaks in kinds),
        least_bytes=min(min(peaks.taken) for peaks in kinds),
        most_bytes=max(max(peaks.taken) for peaks in kinds),
    )
