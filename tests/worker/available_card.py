"""Whether this machine has a card that tests can run on."""

from __future__ import annotations

import torch


def why_no_card() -> str:
    """The reason why not, or nothing."""
    if torch.version.cuda is None:
        return f"needs a CUDA device, and torch {torch.__version__} is built without CUDA"
    return "" if torch.cuda.is_available() else "needs a CUDA device, and none is visible"
