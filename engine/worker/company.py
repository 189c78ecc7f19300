"""Which models may run rows of several requests together: those whose figures of a row don't depend on how far it is padded."""

from __future__ import annotations

from typing import Any, Final

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BY_THE_LONGEST: Final = frozenset({"dynamic", "longrope"})
"""Kinds of rotary positions that are scaled by the longest row of a batch."""
_LEARNED: Final = ("position", "wpe")
"""What the tables of learned positions have in their names."""


def suffers_company(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a row may come to something else beside a longer one: where positions are scaled by the longest, or learned ones
    are counted from padding that comes first. What a request makes of its own rows then is as transformers makes it."""
    if _BY_THE_LONGEST & _rope_types(module.config.get_text_config().to_dict()):
        return True
    tables = (name for name, part in module.named_modules() if isinstance(part, torch.nn.Embedding))
    is_learned = any(word in table for table in tables for word in _LEARNED)
    return is_learned and tokenizer.padding_side == "left"


def _rope_types(config: object) -> set[Any]:
    """Those that a configuration names, for all layers or for each kind of them."""
    if not isinstance(config, dict):
        return set()
    own = {config[key] for key in ("rope_type", "type") if isinstance(config.get(key), str)}
    return own.union(*map(_rope_types, config.values()))
