"""A model's tokenizer, and how many tokens of a text it may take."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from engine.core.models import Limits
from engine.weights.errors import BadCheckpoint
from engine.worker.errors import in_our_words

TOKENIZER_FILE: Final = "tokenizer.json"
_MAY_LACK: Final = frozenset({"tokenizer_file", "tokenizer_config_file", "normalizer_file", "target_vocab_file"})
"""Files that tokenizers read where they are there."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer whose files lie in the folder. Raises BadCheckpoint."""
    with in_our_words(f"{folder} has no tokenizer that can be loaded", "fetch its tokenizer's files again"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    _check_vocabulary(folder, tokenizer)
    if tokenizer.pad_token_id is None:
        # any will do, since padding is masked; one that is special already, so that no answer loses it
        special = (tokenizer.eos_token, tokenizer.unk_token, tokenizer.bos_token, *tokenizer.all_special_tokens)
        tokenizer.pad_token = next(filter(None, special), None)
    return tokenizer


def _check_vocabulary(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """A tokenizer without its files knows special tokens only, and would make the same of all texts. Raises BadCheckpoint."""
    if (folder / TOKENIZER_FILE).is_file():
        return
    wanted = {name: key for key, name in tokenizer.vocab_files_names.items() if key not in _MAY_LACK}
    if lacking := sorted(name for name in wanted if not (folder / name).is_file()):
        raise BadCheckpoint(
            f"{folder} lacks {', '.join(lacking)}, from which {type(tokenizer).__name__} reads its vocabulary; fetch it again,"
            " with its tokenizer"
        )


def longest_input(tokenizer: PreTrainedTokenizerBase, limits: Limits) -> int:
    """Tokens of one row: the catalog's limit, or the model's own where that is lower."""
    return min(limits.max_sequence, tokenizer.model_max_length)
