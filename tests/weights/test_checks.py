"""What is refused from a checkpoint's files, before a byte of its weights is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pytest
from safetensors.numpy import save_file

from engine.core.models import ModelSpec
from engine.core.tasks import TaskKind
from engine.weights.errors import SourceMissing
from engine.weights.sources import resolve
from tests.weights.checkpoints import write_checkpoint

Change: TypeAlias = Callable[[Path], object]


def config(**values: Any) -> Change:  # noqa: ANN401 - values of a config.json
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def file(name: str, content: str | bytes) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def instead_of_weights(*names: str) -> Change:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        for name in names:
            file(name, b"x")(folder)

    return change


def index(*names: str) -> Change:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        weight_map = {f"weight{number}": name for number, name in enumerate(names)}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    return change


def tensors(name: str, dtype: str) -> Change:
    kinds = {"I32": np.int32, "I8": np.int8, "F32": np.float32}
    return lambda folder: save_file({name: np.ones((2, 2), kinds[dtype])}, folder / "model.safetensors")


def without(*names: str) -> Change:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def without_vocabulary(tokenizer_class: str) -> Change:
    def change(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer_class}))

    return change


JINA: Final = {"AutoConfig": "configuration_bert.JinaBertConfig", "AutoModel": "modeling_bert.JinaBertModel"}
REFUSED: Final[dict[str, tuple[Change, TaskKind, str]]] = {
    "no object": (file("config.json", "[]"), "embedding", r"config\.json can't be read"),
    "cut config": (
        file("config.json", '{"model_type": "be'),
        "embedding",
        r"config\.json can't be read.*Fetch it again",
    ),
    "no words": (file("config.json", b"\xff\xfe\x00"), "embedding", r"config\.json can't be read"),
    "too deep": (file("config.json", "[" * 100_000), "embedding", r"config\.json can't be read"),
    "untyped": (config(model_type=None), "embedding", r"config\.json does not say its model_type"),
    "typed oddly": (config(model_type=["bert"]), "embedding", r"config\.json does not say its model_type"),
    "unknown": (config(model_type="new"), "embedding", r"model_type 'new' is not known .* newer one"),
    "own code": (config(auto_map=JINA), "embedding", r"auto_map asks for the class JinaBertConfig .* never run"),
    "gptq": (config(quantization_config={"quant_method": "gptq"}), "embedding", r"says gptq.*\"dtype\": \"int8\""),
    "nested quantisation": (
        config(text_config={"quantization_config": {"quant_method": "awq"}}),
        "embedding",
        r"text_config\.quantization_config says awq",
    ),
    "older quantisation": (file("quantize_config.json", '{"bits": 4}'), "embedding", r"quantize_config\.json says"),
    "adapter": (file("adapter_config.json", "{}"), "embedding", r"adapter_config\.json belongs to an adapter, .*merge"),
    "reranker": (
        config(architectures=["BertForSequenceClassification"]),
        "embedding",
        "architectures says BertForSequenceClassification.* makes no embeddings",
    ),
    "judge that is to write": (
        config(architectures=["BertForTokenClassification"]),
        "generation",
        "architectures says BertForTokenClassification.* makes no text",
    ),
    "encoder-decoder": (
        config(model_type="bart", architectures=["BartForConditionalGeneration"]),
        "generation",
        "model_type bart has an encoder and a decoder",
    ),
    "no writer": (config(model_type="mpnet"), "generation", "model_type mpnet can't do the task generation"),
    "ears": (config(model_type="whisper"), "embedding", "model_type whisper can't do the task embedding"),
    "eyes": (config(model_type="clip"), "embedding", "model_type clip can't do the task embedding"),
    "no vocabulary": (without_vocabulary("BertTokenizer"), "embedding", "no tokenizer.json and no other vocabulary"),
    "cut tokenizer": (file("tokenizer.json", '{"model": {'), "embedding", r"tokenizer\.json can't be read.*cut short"),
    "cut settings": (file("generation_config.json", "{not"), "embedding", r"generation_config\.json can't be read"),
    "another module": (
        file("modules.json", '[{"path": "", "type": "custom_st.Transformer2"}]'),
        "embedding",
        r"modules\.json asks for custom_st\.Transformer2",
    ),
    "a module elsewhere": (
        file("modules.json", '[{"path": "../x", "type": "m.Pooling"}]'),
        "embedding",
        r"modules\.json names the folder '\.\./x', which lies outside",
    ),
    "cut modules": (file("modules.json", "[{"), "embedding", r"modules\.json can't be read"),
    "pickles": (instead_of_weights("pytorch_model.bin"), "embedding", r"only as \.bin .*convert them to safetensors"),
    "gguf": (instead_of_weights("model-q4.gguf"), "embedding", r"in GGUF.*\"dtype\": \"int8\""),
    "onnx": (instead_of_weights("onnx/model.onnx"), "embedding", r"as ONNX.*onnx/model\.onnx"),
    "tensorflow": (instead_of_weights("tf_model.h5"), "embedding", "for TensorFlow"),
    "variant": (instead_of_weights("model.fp16.safetensors"), "embedding", r"variant model\.fp16\.safetensors; rename"),
    "no index": (
        instead_of_weights("model-00001-of-00002.safetensors"),
        "embedding",
        r"no model\.safetensors\.index\.json .*fetch that file",
    ),
    "weights below": (
        instead_of_weights("0_Transformer/model.safetensors"),
        "embedding",
        "there is 0_Transformer/model.safetensors: name that folder",
    ),
    "left by a trainer": (
        instead_of_weights("training_args.bin"),
        "embedding",
        r"no model\.safetensors and no .*index",
    ),
    "missing part": (
        index("a.safetensors", "w/b.safetensors"),
        "embedding",
        r"lacks 2 of the 2 files .* such as 'a\.safetensors'",
    ),
    "pickled part": (index("pytorch_model-1.bin"), "embedding", "which is no safetensors file"),
    "pointer": (
        file("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1234\n"),
        "embedding",
        r"model\.safetensors is a pointer of Git LFS.*git lfs pull",
    ),
    "packed weights": (tensors("a.qweight", "I32"), "embedding", r"a\.qweight is quantised already"),
    "weights in whole numbers": (tensors("a.weight", "I8"), "embedding", r"a\.weight is quantised already"),
    "scaled weights": (tensors("a.weight_scale_inv", "F32"), "embedding", "quantised already"),
    "an adapter among the weights": (
        tensors("q.lora_A.default.weight", "F32"),
        "embedding",
        r"lora_A\.default\.weight belongs to an adapter",
    ),
    "no config": (without("config.json"), "embedding", r"has no config\.json, so it is not a checkpoint"),
}


@pytest.mark.parametrize(("change", "task", "words"), REFUSED.values(), ids=REFUSED)
def test_a_checkpoint_that_can_not_be_run_as_it_asks_is_refused_with_file_key_and_remedy(
    change: Change, task: TaskKind, words: str, tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    change(folder)
    with pytest.raises(SourceMissing, match=words) as raised:
        resolve(ModelSpec("m", (f"path:{folder}",), task), tmp_path)
    assert str(raised.value).startswith("m has no source that can be used on this machine. ")
    assert str(folder) in str(raised.value)


RUN: Final[dict[str, tuple[Change, TaskKind]]] = {
    "plain": (config(), "embedding"),
    "code with the names of transformers' own": (
        config(auto_map={"AutoConfig": "own.BertConfig", "AutoModel": "x--own.BertModel"}),
        "embedding",
    ),
    "no quantisation": (config(quantization_config=None), "embedding"),
    "a head that sentence-transformers takes no notice of": (
        lambda folder: (
            config(architectures=["BertForSequenceClassification"])(folder),
            file("modules.json", '[{"path": "", "type": "sentence_transformers.models.Transformer"}]')(folder),
        ),
        "embedding",
    ),
    "bytes for words": (without_vocabulary("ByT5Tokenizer"), "embedding"),
    "a vocabulary with a name of its own": (
        lambda folder: (without("tokenizer.json")(folder), file("bpe.codes", "")(folder)),
        "embedding",
    ),
    "numbers without an end": (file("generation_config.json", '{"a": [0.0, Infinity, NaN]}'), "embedding"),
    "a broken file that nothing reads": (file("dataset_info.json", "{"), "embedding"),
    "a page that is no settings": (file("README.md", b"\xff"), "embedding"),
}


@pytest.mark.parametrize(("change", "task"), RUN.values(), ids=RUN)
def test_what_asks_for_nothing_else_is_taken(change: Change, task: TaskKind, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    change(folder)
    assert resolve(ModelSpec("m", (f"path:{folder}",), task), tmp_path).folder == folder


def test_weights_in_a_folder_below_are_found_by_the_index(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    index("w/a.safetensors")(folder)
    (folder / "w").mkdir()
    save_file({"weight0": np.ones(2, np.float32)}, folder / "w" / "a.safetensors")
    assert resolve(ModelSpec("m", (f"path:{folder}",), "embedding"), tmp_path).folder == folder


def test_a_checksum_of_one_file_is_no_checksum_of_several(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    index("a.safetensors", "b.safetensors")(folder)
    for name in ("a", "b"):
        save_file({"weight0": np.ones(2, np.float32)}, folder / f"{name}.safetensors")
    with pytest.raises(SourceMissing, match="weights in several files, and the catalog's sha256 is of one"):
        resolve(ModelSpec("m", (f"path:{folder}",), "embedding", sha256="0" * 64), tmp_path)


def test_a_source_that_is_there_and_bad_is_passed_over_with_a_word(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    config(quantization_config={"quant_method": "gptq"})(folder)
    source = resolve(ModelSpec("m", ("hub:org/absent", f"path:{folder}", "synthetic:bge-base"), "embedding"), tmp_path)
    assert source.text == "synthetic:bge-base"
    [passed_over] = source.passed_over  # what is not there at all is none of them
    assert passed_over.startswith(f"path:{folder}: ")
    assert "quantization_config says gptq" in passed_over
