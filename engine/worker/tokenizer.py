"""A model's tokenizer, how many tokens of a text it may take, and reading a text without reading more of it than is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from tokenizers.normalizers import Lowercase, Sequence
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from engine.core.models import Limits
from engine.weights.errors import BadCheckpoint
from engine.worker.errors import in_our_words

TOKENIZER_FILE: Final = "tokenizer.json"
_MAY_LACK: Final = frozenset({"tokenizer_file", "tokenizer_config_file", "normalizer_file", "target_vocab_file"})
"""Files that tokenizers read where they are there."""

_CHARACTERS_A_TOKEN: Final = 16
"""Four times what there are in most texts: of one that is longer than so many a token of the limit, the beginning will do."""


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


def read_in_lower_case(tokenizer: PreTrainedTokenizerBase) -> None:
    """Have the tokenizer turn letters to lower case first, as sentence-transformers does. Raises BadCheckpoint."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise BadCheckpoint(
            f"do_lower_case is not supported for a {type(tokenizer).__name__}; save it as a fast tokenizer"
        )
    before = backend.normalizer
    backend.normalizer = Lowercase() if before is None else Sequence([Lowercase(), before])


class ReadText(NamedTuple):
    """A text as tokens."""

    tokens: list[int]
    """Those that are kept: no more than the limit."""
    seen: int
    """How many the text has, or the part of it that was read."""
    read_whole: bool


def read_text(tokenizer: PreTrainedTokenizerBase, text: str, limit: int) -> ReadText:
    """The tokens of a text, of which at most `limit` are kept. Of a very long one only so much is read as that takes: the
    beginning, and then more than twice of it. Where both give the same tokens, what follows does not change them."""
    end = _CHARACTERS_A_TOKEN * limit
    before: list[int] | None = None
    while end < len(text) and tokenizer.truncation_side == "right":
        kept, seen = _read(tokenizer, text[:end], limit)
        if seen > limit and kept == before:
            return ReadText(kept, seen, read_whole=False)
        before = kept if seen > limit else None
        end = 2 * end + 1  # odd after even: a run of one character is split by its length
    return ReadText(*_read(tokenizer, text, limit), read_whole=True)


def _read(tokenizer: PreTrainedTokenizerBase, text: str, limit: int) -> tuple[list[int], int]:
    tokens: list[int] = tokenizer(text, verbose=False)["input_ids"]
    if len(tokens) <= limit:
        return tokens, len(tokens)
    kept: list[int] = tokenizer(text, truncation=True, max_length=limit)["input_ids"]
    return kept, len(tokens)
