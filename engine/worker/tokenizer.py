"""A model's tokenizer, and reading a text, or two together, without reading more of them than is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from tokenizers import normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from engine.core.tasks import TextTokens
from engine.weights.errors import BadCheckpoint
from engine.worker.errors import in_our_words

TOKENIZER_FILE: Final = "tokenizer.json"
_MAY_LACK: Final = frozenset({"tokenizer_file", "tokenizer_config_file", "normalizer_file", "target_vocab_file"})
"""Files that tokenizers read where they are there."""

TokenRow: TypeAlias = dict[str, list[int]]
"""Figures of a text's tokens, by the names that models know them by."""
_ROW_NAMES: Final = ("input_ids", "token_type_ids", "attention_mask")
_CHARACTERS_A_TOKEN: Final = 16
"""Four times what there are in most texts: of one that is longer than so many a token of the limit, the beginning will do."""

_TEXTS_A_CALL: Final = 64
"""What a tokenizer makes of a text is many times larger than the row that is kept of it."""


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


def read_in_lower_case(tokenizer: PreTrainedTokenizerBase) -> None:
    """Have the tokenizer turn letters to lower case first, as sentence-transformers does. Raises BadCheckpoint."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise BadCheckpoint(
            f"do_lower_case is not supported for a {type(tokenizer).__name__}; save it as a fast tokenizer"
        )
    before, lower = backend.normalizer, normalizers.Lowercase()
    backend.normalizer = lower if before is None else normalizers.Sequence([lower, before])


class ReadText(NamedTuple):
    """A text as tokens, or a text and another behind it."""

    row: TokenRow
    """Of those that are kept: no more than the limit."""
    seen: int
    """How many the text has, or the part of it that was read."""
    read_whole: bool

    @property
    def tokens(self) -> list[int]:
        """The numbers of those that are kept."""
        return self.row["input_ids"]

    @property
    def counts(self) -> TextTokens:
        return TextTokens(self.seen, len(self.tokens), self.read_whole)


def read_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Sequence[str]], limit: int, *, is_cut: bool = True
) -> list[ReadText]:
    """What `read_text` makes of each, in far fewer calls of the tokenizer."""
    read: list[ReadText | None] = [None] * len(texts)
    short = [number for number, parts in enumerate(texts) if max(map(len, parts)) <= _CHARACTERS_A_TOKEN * limit]
    for begin in range(0, len(short), _TEXTS_A_CALL):
        numbers = short[begin : begin + _TEXTS_A_CALL]
        rows = _rows(tokenizer, [texts[number] for number in numbers], verbose=False)
        for number, row in zip(numbers, rows, strict=True):
            if (seen := len(row["input_ids"])) <= limit:
                read[number] = ReadText(row, seen, read_whole=True)
    return [
        known or read_text(tokenizer, parts, limit, is_cut=is_cut) for known, parts in zip(read, texts, strict=True)
    ]


def read_text(
    tokenizer: PreTrainedTokenizerBase,
    parts: Sequence[str],
    limit: int,
    *,
    is_cut: bool = True,
    has_special: bool = False,
) -> ReadText:
    """The tokens of a text, or of two together, of which at most `limit` are kept: as the tokenizer cuts them, or, where none is
    to be run that `is_cut`, just the first. `has_special`: the special tokens are in the text already.

    Of a very long one only so much is read as that takes: the beginning, and then more than twice of it. Where both give the
    same tokens, what follows does not change them.
    """
    end = _CHARACTERS_A_TOKEN * limit
    from_the_beginning = not is_cut or tokenizer.truncation_side == "right"
    before: TokenRow | None = None
    while end < max(map(len, parts)) and from_the_beginning:
        begun = [part[:end] for part in parts]
        row, seen = _read(tokenizer, begun, limit, is_cut=is_cut, add_special_tokens=not has_special)
        if seen > limit and row == before:
            return ReadText(row, seen, read_whole=False)
        before = row if seen > limit else None
        end = 2 * end + 1  # odd after even: a run of one character is split by its length
    row, seen = _read(tokenizer, parts, limit, is_cut=is_cut, add_special_tokens=not has_special)
    return ReadText(row, seen, read_whole=True)


def _read(
    tokenizer: PreTrainedTokenizerBase, parts: Sequence[str], limit: int, *, is_cut: bool, add_special_tokens: bool
) -> tuple[TokenRow, int]:
    row = _row(tokenizer, parts, add_special_tokens=add_special_tokens, verbose=False)
    seen = len(row["input_ids"])
    if seen <= limit:
        return row, seen
    if not is_cut:
        return {name: figures[:limit] for name, figures in row.items()}, seen
    how = {"truncation": "longest_first", "max_length": limit}
    return _row(tokenizer, parts, add_special_tokens=add_special_tokens, **how), seen


def _row(tokenizer: PreTrainedTokenizerBase, parts: Sequence[str], **how: Any) -> TokenRow:  # noqa: ANN401 - its own options
    return _rows(tokenizer, [parts], **how)[0]


def _rows(tokenizer: PreTrainedTokenizerBase, texts: Sequence[Sequence[str]], **how: Any) -> list[TokenRow]:  # noqa: ANN401 - its own options
    # As lists, also of one: a tokenizer that is given a pair alone takes one with an empty second text for a single text.
    tokenized = tokenizer(*map(list, zip(*texts, strict=True)), **how)
    names = [name for name in _ROW_NAMES if name in tokenized]
    return [{name: tokenized[name][number] for name in names} for number in range(len(texts))]
