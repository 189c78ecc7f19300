"""What a checkpoint's sentence-transformers files ask for, held against sentence-transformers on the same folder; what can't be
done is refused by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import torch

from engine.core.models import Dtype, Limits
from engine.core.tasks import Embed
from engine.weights.errors import BadCheckpoint
from engine.weights.sentence_files import read_sentence_format
from engine.worker.convert import load_in, write_module
from engine.worker.errors import BadRequest
from tests.worker.lanes import embed
from tests.worker.sentence_models import HIDDEN, embedded, embedder, list_modules, reference, write_model, written_anew

TEXTS: Final = ("a cat", "The kitten sat on the mat , a kitten sat on the Cat")
PROMPTS: Final = {"prompts": {"query": "query : ", "passage": "passage : "}}
LEAST_COSINE: Final[dict[Dtype, float]] = {"float32": 0.99999, "float16": 0.9999, "int8": 0.99}
"""Half precision rounds the hidden states; int8 rounds the weights to a byte, in a model whose layers are very narrow."""

KINDS: Final[dict[str, dict[str, Any]]] = {
    **{
        mode: {"pooling": {"pooling_mode": mode}}
        for mode in ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
    },
    "several": {"pooling": {"pooling_mode": ["lasttoken", "mean"]}},
    "several flags": {"pooling": {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}},
    "no flag": {"pooling": {"pooling_mode_cls_token": False}},
    "cls behind padding": {"pooling": {"pooling_mode_cls_token": True}, "side": "left"},
    "weighted behind padding": {"pooling": {"pooling_mode": "weightedmean"}, "side": "left"},
    "last behind padding": {"pooling": {"pooling_mode": "lasttoken"}, "side": "left", "family": "llama"},
    "last of a decoder": {"pooling": {"pooling_mode": "lasttoken"}, "family": "qwen2"},
    "as it is": {"modules": ("Pooling",)},
    "dense": {"modules": ("Pooling", "Dense", "Normalize")},
    "dense behind unit length": {"modules": ("Pooling", "Normalize", "Dense")},
    "dense without bias": {
        "modules": ("Pooling", "Dense"),
        "dense": {"bias": False, "activation_function": "torch.nn.modules.linear.Identity"},
    },
    "dense beside its input": {"modules": ("Pooling", "Dense"), "dense": {"use_residual": True}},
    "layer norm": {"modules": ("Pooling", "LayerNorm", "Dropout", "Normalize")},
    "default prompt": {"prompts": PROMPTS | {"default_prompt_name": "query"}},
    "prompt not counted": {
        "prompts": PROMPTS | {"default_prompt_name": "query"},
        "pooling": {"pooling_mode": "mean", "include_prompt": False},
    },
    "prompt not counted behind padding": {
        "prompts": PROMPTS | {"default_prompt_name": "query"},
        "pooling": {"pooling_mode": ["cls", "weightedmean"], "include_prompt": False},
        "side": "left",
    },
    "lower case": {"sentence": {"do_lower_case": True}},
    "roberta": {"family": "roberta"},
    "mpnet": {"family": "mpnet"},
}


def assert_alike(made: torch.Tensor, expected: torch.Tensor, dtype: Dtype = "float32") -> None:
    assert made.shape == expected.shape
    assert torch.cosine_similarity(made, expected).min() >= LEAST_COSINE[dtype]
    torch.testing.assert_close(made.norm(dim=1), expected.norm(dim=1), rtol=0.05 if dtype == "int8" else 1e-2, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_the_vectors_of_sentence_transformers(kind: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path, **KINDS[kind])
    made = embedded(folder, *TEXTS)
    assert_alike(made.vectors, reference(folder, *TEXTS))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("kind", ["several", "weightedmean", "dense", "layer norm"])
def test_so_does_each_dtype_as_far_as_it_is_precise(kind: str, dtype: Dtype, tmp_path: Path) -> None:
    folder = write_model(tmp_path, **KINDS[kind])
    assert_alike(embedded(folder, *TEXTS, dtype=dtype).vectors, reference(folder, *TEXTS), dtype)


def test_prompts_are_asked_for_by_name_or_in_so_many_words(tmp_path: Path) -> None:
    folder = write_model(tmp_path, prompts=PROMPTS)
    model = embedder(folder)
    named = embed(model, Embed(TEXTS, prompt="query"))
    assert_alike(named.vectors, reference(folder, *TEXTS, prompt_name="query"))
    assert named.prompt == "query : "
    assert_alike(embed(model, Embed(TEXTS, prompt_text="the ")).vectors, reference(folder, *TEXTS, prompt="the "))
    with pytest.raises(BadRequest, match="no prompt 'title'; it has query, passage"):
        embed(model, Embed(TEXTS, prompt="title"))
    with pytest.raises(BadRequest, match="leave one of them out"):
        embed(model, Embed(TEXTS, prompt="query", prompt_text="the "))


def test_the_first_dimensions_are_a_vector_of_their_own(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    model = embedder(folder)
    made = embed(model, Embed(TEXTS, dimensions=8)).vectors
    assert_alike(made, reference(folder, *TEXTS, truncate_dim=8, normalize_embeddings=True))
    with pytest.raises(BadRequest, match=f"dimensions is {HIDDEN + 1}; its vectors have {HIDDEN}"):
        embed(model, Embed(TEXTS, dimensions=HIDDEN + 1))


def test_a_folder_without_unit_length_says_so(tmp_path: Path) -> None:
    written = {"similarity_fn_name": "dot"}
    form = read_sentence_format(write_model(tmp_path, modules=("Pooling",), prompts=written))
    assert (form.normalizes, form.similarity) == (False, "dot")


REFUSED: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "unknown module": ({"modules": ("Pooling", "CNN")}, r"modules\.json asks for .*\.CNN"),
    "no pooling": ({"modules": ("Normalize",)}, r"modules\.json has no Pooling"),
    "unknown pooling": ({"pooling": {"pooling_mode": "median"}}, r"pooling_mode is 'median', and known are cls"),
    "unknown flag": (
        {"pooling": {"pooling_mode_median_tokens": True}},
        "pooling_mode_median_tokens is a way of pooling",
    ),
    "unknown activation": (
        {"modules": ("Pooling", "Dense"), "dense": {"activation_function": "my.Swoosh"}},
        r"activation_function is my\.Swoosh",
    ),
    "default prompt that is none": ({"prompts": {"default_prompt_name": "query"}}, "default_prompt_name is 'query'"),
    "dense before the pooling": (
        {"modules": ("Pooling", "Dense"), "dense": {"module_input_name": "token_embeddings"}},
        "module_input_name is 'token_embeddings'",
    ),
    "limit that is none": ({"sentence": {"max_seq_length": "long"}}, "max_seq_length is 'long'"),
    "other output": (
        {"sentence": {"modality_config": {"text": {"method": "get_text_features"}}}},
        "modality_config has .*get_text_features",
    ),
    "other task": ({"sentence": {"transformer_task": "fill-mask"}}, "transformer_task is 'fill-mask'"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cant_be_done_is_refused_from_the_files_alone(kind: str, tmp_path: Path) -> None:
    options, words = REFUSED[kind]
    folder = write_model(tmp_path, **options)
    with pytest.raises(BadCheckpoint, match=words):
        read_sentence_format(folder)


def test_weights_of_a_module_are_asked_for_by_name(tmp_path: Path) -> None:
    folder = write_model(tmp_path, modules=("Pooling", "Dense"))
    (folder / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(BadCheckpoint, match=r"2_Dense has no model\.safetensors"):
        read_sentence_format(folder)


def test_modules_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path, modules=("Pooling", "Dense"), pooling={"pooling_mode": ["cls", "mean"]})
    with pytest.raises(
        BadCheckpoint, match=f"2_Dense/config.json takes {HIDDEN} figures, and what comes before gives 64"
    ):
        embedder(folder)


def test_a_pooling_in_whatever_folder_is_found(tmp_path: Path) -> None:
    folder = write_model(tmp_path, modules=("Pooling",), pooling={"pooling_mode": "cls"})
    (folder / "1_Pooling").rename(folder / "way")
    newer = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
    list_modules(folder, [("sentence_transformers.models.Transformer", ""), (newer, "way")])
    assert_alike(embedded(folder, *TEXTS).vectors, reference(folder, *TEXTS))


def test_what_sentence_transformers_itself_has_written_is_read(tmp_path: Path) -> None:
    written = write_model(
        tmp_path / "old",
        modules=("Pooling", "Dense", "Normalize"),
        pooling={"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True},
        dense={"in_features": 2 * HIDDEN},
        prompts=PROMPTS | {"default_prompt_name": "passage"},
        sentence={"do_lower_case": True},
    )
    folder = written_anew(written, tmp_path / "new")
    assert (folder / "modules.json").read_text() != (written / "modules.json").read_text()
    assert_alike(embedded(folder, *TEXTS).vectors, reference(folder, *TEXTS))


def test_modules_and_their_weights_come_along_when_a_model_is_prepared(tmp_path: Path) -> None:
    source = write_model(tmp_path / "source", modules=("Pooling", "Dense", "LayerNorm"), dense={"out_features": HIDDEN})
    module = load_in(source, "embedding", "float32")
    prepared = write_module(module, tmp_path / "prepared", source, f"path:{source}", lambda _: None)
    form = read_sentence_format(prepared.folder)
    assert form == read_sentence_format(source)
    assert_alike(embed(embedder(prepared.folder, module=module), Embed(TEXTS)).vectors, reference(source, *TEXTS))


def test_rows_are_embedded_alike_whatever_the_batch(tmp_path: Path) -> None:
    folder = write_model(tmp_path, modules=("Pooling", "Dense"))
    one, together = embedder(folder, limits=Limits(1, 64)), embedder(folder, limits=Limits(16, 64))
    task = Embed(TEXTS * 3)
    torch.testing.assert_close(embed(one, task).vectors, embed(together, task).vectors, atol=1e-5, rtol=1e-4)
