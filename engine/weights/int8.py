"""Which weights of a checkpoint int8 makes smaller, told by their names and shapes, since nothing here builds modules. The
conversion itself goes by the modules (`engine.worker.int8`); a family of unknown names is estimated a little wrong."""

from __future__ import annotations

import re
from typing import Final

_KEPT: Final = re.compile(r"embed|(^|\.)(wte|wpe|shared|lm_head|relative_attention_bias|DenseReluDense\.wo)\.")
"""Tables that rows are looked up in, output heads, and T5's `wo`, which transformers keeps in float32."""


def is_int8_matrix(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a floating weight of that name and shape is a linear layer's matrix."""
    return len(shape) == 2 and name.endswith(".weight") and not _KEPT.search(name)
