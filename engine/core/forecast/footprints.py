"""How many bytes a model will need on a device, from its architecture alone: the estimate before any measurement."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from engine.core.models import DTYPE_BYTES, Dtype, Footprint, Limits, Task

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


def estimate(weights_bytes: int, architecture: Architecture, limits: Limits, task: Task, dtype: Dtype) -> Footprint:
    """The footprint at the model's limits.

    With tokens = max_batch · max_sequence and b = bytes of the dtype:

    - activations: 1.25 · tokens · (intermediate + 6 · hidden) · b, the widest layer's live tensors and some slack;
    - generation adds the KV cache, 2 · layers · kv_heads · head_dim · tokens · b, and one row of float32 logits
      for each sequence, vocab · 4 · max_batch;
    - int8 adds the widest matrix as it is multiplied with, 2 · hidden · intermediate · b.
    """
    tokens = limits.max_batch * limits.max_sequence
    element_bytes = DTYPE_BYTES[dtype]
    width = architecture.intermediate + LIVE_HIDDEN_STATES * architecture.hidden
    workspace_bytes = int(ALLOCATOR_SLACK * tokens * width * element_bytes)
    if task == "generation":
        kv_width = 2 * architecture.layers * architecture.kv_heads * architecture.head_dim
        workspace_bytes += kv_width * tokens * element_bytes
        workspace_bytes += architecture.vocab * LOGIT_BYTES * limits.max_batch
    if dtype == "int8":
        workspace_bytes += FUSED_MATRICES * architecture.hidden * architecture.intermediate * element_bytes
    return Footprint(weights_bytes=weights_bytes, workspace_bytes=workspace_bytes)
