"""A model's tokenizer, and how many tokens of a text it may take."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from engine.core.models import Limits
from engine.weights.errors import BadCheckpoint


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer whose files lie in the folder. Raises BadCheckpoint."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, ImportError) as error:
        raise BadCheckpoint(f"{folder} has no tokenizer that can be loaded: {error}") from error
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def longest_input(tokenizer: PreTrainedTokenizerBase, limits: Limits) -> int:
    """Tokens of one row: the catalog's limit, or the model's own where that is lower."""
    return min(limits.max_sequence, tokenizer.model_max_length)
