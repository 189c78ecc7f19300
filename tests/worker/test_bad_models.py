"""One bad model among good ones: it is named with its file and the remedy, and the others are prepared, whatever libraries
raise."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.core.models import ModelSpec
from engine.core.preparation import Built, NotPrepared, Order, PrepareNews
from engine.worker.prepare_program import prepare_all
from engine.worker.tokenizer import load_tokenizer
from tests.worker.models import write_random_checkpoint

Change: TypeAlias = Callable[[Path], object]


def changed(name: str, **values: Any) -> Change:  # noqa: ANN401 - values of a JSON file
    def change(folder: Path) -> None:
        path = folder / name
        known = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(known | values))

    return change


def in_tokenizer(part: str, **values: Any) -> Change:  # noqa: ANN401 - as above
    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        tokenizer = json.loads(path.read_text())
        tokenizer[part] |= values
        path.write_text(json.dumps(tokenizer))

    return change


def with_weights(alter: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def change(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        alter(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def other_vocabulary(folder: Path) -> None:
    """Files that make no tokenizer."""
    (folder / "tokenizer.json").unlink()
    (folder / "spiece.model").write_bytes(b"no sentencepiece")
    changed("tokenizer_config.json", tokenizer_class="AlbertTokenizer")(folder)


BAD: Final[dict[str, tuple[Change, str]]] = {
    "a size of the wrong type": (changed("config.json", hidden_dropout_prob="much"), r"config\.json can't be"),
    "a word that the library does not know": (
        changed("config.json", hidden_act="gelu_of_mine"),
        r"config\.json can't be.*'gelu_of_mine'",
    ),
    "heads that do not divide": (changed("config.json", num_attention_heads=5), r"config\.json can't be.*hidden size"),
    "padding beyond the words": (changed("config.json", pad_token_id=1000), r"config\.json can't be.*Padding_idx"),
    "a part of the wrong type": (changed("config.json", id2label=["a"], label2id=3), r"config\.json can't be"),
    "a tokenizer of a future kind": (in_tokenizer("model", type="FutureWords"), "no tokenizer that can be loaded"),
    "tokens that are a list": (
        changed("tokenizer_config.json", model_specific_special_tokens=["<s>"]),
        "no tokenizer that can be loaded",
    ),
    "a vocabulary that is none": (other_vocabulary, "no tokenizer that can be loaded"),
    "a vocabulary that is not there": (
        lambda folder: (
            (folder / "tokenizer.json").rename(folder / "other.json"),
            changed("tokenizer_config.json", tokenizer_class="BertTokenizer")(folder),
        ),
        r"lacks vocab\.txt, from which BertTokenizer reads its vocabulary",
    ),
    "weights of other shapes": (
        changed("config.json", vocab_size=50),
        r"1 of its weights have other shapes .*word_embeddings",
    ),
    "weights that are not there": (changed("config.json", num_hidden_layers=3), "lacks 16 weights of BertModel"),
    "weights under other names": (
        with_weights(lambda tensors: [tensors.update({f"x.{name}": tensors.pop(name)}) for name in list(tensors)]),
        "lacks 37 weights of BertModel",
    ),
    "a weight that is no number": (
        with_weights(lambda tensors: tensors["encoder.layer.1.output.dense.weight"][3].fill_(float("nan"))),
        r"encoder\.layer\.1\.output\.dense\.weight has an element that is not a number",
    ),
    "code of its own": (
        changed("config.json", auto_map={"AutoModel": "own.Model"}),
        "auto_map asks for the class Model",
    ),
    "quantised weights": (
        changed("config.json", quantization_config={"quant_method": "awq"}),
        "quantization_config says awq",
    ),
}
MEANT_FOR_OTHERS: Final = (
    "trust_remote_code",
    "pip install",
    "above report",
    "from_pretrained",
    "https://",
    "Traceback",
)


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_a_bad_model_is_named_with_the_cause_and_the_good_ones_are_prepared(
    change: Change, words: str, tmp_path: Path
) -> None:
    names = ("first", "bad", "last")
    for name in names:
        write_random_checkpoint("bert", tmp_path / name)
    change(tmp_path / "bad")
    news: list[PrepareNews] = []
    specs = tuple(ModelSpec(name, (f"path:{tmp_path / name}",), "embedding") for name in names)
    prepare_all(Order(specs, str(tmp_path)), news.append)
    outcomes = {item.model: item for item in news if isinstance(item, Built | NotPrepared)}
    assert list(outcomes) == list(names)
    assert isinstance(outcomes["first"], Built)
    assert isinstance(outcomes["last"], Built)
    bad = outcomes["bad"]
    assert isinstance(bad, NotPrepared)
    assert str(tmp_path / "bad") in bad.reason
    assert not [words for words in MEANT_FOR_OTHERS if words in bad.reason]
    assert re.search(words, bad.reason)


def test_settings_for_writing_that_can_not_be_understood_are_named_before_any_weight_is_read(tmp_path: Path) -> None:
    write_random_checkpoint("gpt2", tmp_path / "bad")
    changed("generation_config.json", max_new_tokens=-3)(tmp_path / "bad")
    news: list[PrepareNews] = []
    prepare_all(Order((ModelSpec("bad", (f"path:{tmp_path / 'bad'}",), "generation"),), str(tmp_path)), news.append)
    assert isinstance(news[-1], NotPrepared)
    assert re.search(r"generation_config\.json can't", news[-1].reason)


def test_a_tokenizer_without_a_word_for_padding_pads_with_one_that_is_special_already(tmp_path: Path) -> None:
    write_random_checkpoint("bert", tmp_path)
    known = json.loads((tmp_path / "tokenizer_config.json").read_text())
    for name in ("pad_token", "eos_token"):
        del known[name]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(known))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.pad_token == "[UNK]"
    padded = tokenizer.pad({"input_ids": [[5], [5, 6]]})
    assert padded["attention_mask"] in ([[1, 0], [1, 1]], [[0, 1], [1, 1]])
