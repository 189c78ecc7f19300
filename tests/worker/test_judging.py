"""Heads that judge texts, held against sentence-transformers' CrossEncoder and transformers' own pipeline on the same folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from sentence_transformers import CrossEncoder
from transformers import pipeline

from engine.core.models import Dtype, Limits
from engine.core.tasks import Classify, LabelScores, Rerank, Scores
from engine.weights.errors import BadCheckpoint
from engine.worker.convert import load_module
from engine.worker.errors import BadRequest
from engine.worker.lanes import Lane
from engine.worker.weight_only import convert
from tests.worker.judging_checkpoints import (
    FAMILIES,
    MOST_TOKENS,
    bound_judge,
    change_json,
    prepare_judge,
    write_judge,
)
from tests.worker.lanes import ran_in
from tests.worker.models import Tier

QUERY = "who sits on the mat"
DOCUMENTS = ("the cat sits on the mat", "stock market fell today", "", "dog", "a warm sill " * 3)
LONG = ("the cat sits on the warm sill " * 5, "dog " * 19, "stock market fell")
ROUNDING: dict[Dtype, float] = {"float32": 5e-6, "float16": 4e-3, "bfloat16": 3e-2, "int8": 4e-3}
"""What scores may differ by: other batches are summed in another order."""


def scores(lane: Lane, documents: tuple[str, ...] = DOCUMENTS, *, truncate: bool = False) -> Scores:
    result = ran_in(lane, Rerank(QUERY, documents, truncate)).result
    assert isinstance(result, Scores)
    return result


def label_scores(lane: Lane, texts: tuple[str, ...] = DOCUMENTS, *, truncate: bool = False) -> LabelScores:
    result = ran_in(lane, Classify(texts, truncate)).result
    assert isinstance(result, LabelScores)
    return result


def by_cross_encoder(
    checkpoint: Path, documents: tuple[str, ...] = DOCUMENTS, dtype: torch.dtype = torch.float32, batch: int = 32
) -> list[float]:
    encoder = CrossEncoder(str(checkpoint), device="cpu", model_kwargs={"dtype": dtype})
    pairs = [(QUERY, document) for document in documents]
    found: list[float] = encoder.predict(pairs, batch_size=batch, show_progress_bar=False).tolist()
    return found


def by_pipeline(checkpoint: Path, texts: tuple[str, ...] = DOCUMENTS) -> list[list[float]]:
    classify = pipeline("text-classification", str(checkpoint), device="cpu")
    rows = [classify(text, top_k=None) for text in texts]
    return [[found["score"] for found in sorted(row, key=lambda found: found["label"])] for row in rows]


@pytest.mark.parametrize("family", FAMILIES)
def test_documents_get_the_scores_that_cross_encoder_gives_them(family: str, tier: Tier, tmp_path: Path) -> None:
    checkpoint = write_judge(family, tmp_path / "m")
    expected = by_cross_encoder(checkpoint, batch=1)
    found = scores(bound_judge(checkpoint, "rerank", tier))
    assert found.scores == pytest.approx(expected, abs=ROUNDING["float32"])
    assert max(expected) - min(expected) > 0.01, "equal scores would prove nothing"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2", "qwen2"])
def test_scores_in_half_precision_are_those_of_cross_encoder_in_it(
    family: str, dtype: Dtype, tier: Tier, tmp_path: Path
) -> None:
    checkpoint = write_judge(family, tmp_path / "m")
    expected = by_cross_encoder(checkpoint, dtype=getattr(torch, dtype))
    found = scores(bound_judge(checkpoint, "rerank", tier, dtype))
    assert found.scores == pytest.approx(expected, abs=ROUNDING[dtype])


@pytest.mark.parametrize("family", ["bert", "roberta", "qwen2"])
def test_in_int8_the_head_is_rounded_like_every_other_matrix(family: str, tier: Tier, tmp_path: Path) -> None:
    checkpoint = write_judge(family, tmp_path / "m")
    layers = prepare_judge(checkpoint, "rerank", "int8").layout.weight_only_layers
    assert any(path.startswith(("classifier", "score")) for path in layers)
    rounded = load_module(checkpoint, "rerank", torch.float16)
    convert(rounded, "int8")
    encoder = CrossEncoder(str(checkpoint), device="cpu", model_kwargs={"dtype": torch.float16})
    encoder[0].model = rounded
    expected = encoder.predict([(QUERY, document) for document in DOCUMENTS], show_progress_bar=False).tolist()
    found = scores(bound_judge(checkpoint, "rerank", tier, "int8"))
    assert found.scores == pytest.approx(expected, abs=ROUNDING["int8"])


@pytest.mark.parametrize(
    "settings",
    [
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}},
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        {},
    ],
)
def test_the_activation_is_the_one_that_the_configuration_names(
    settings: dict[str, object], tier: Tier, tmp_path: Path
) -> None:
    checkpoint = write_judge("bert", tmp_path / "m")
    change_json(checkpoint / "config.json", **settings)
    expected = by_cross_encoder(checkpoint)
    assert scores(bound_judge(checkpoint, "rerank", tier)).scores == pytest.approx(expected, abs=1e-6)


def test_a_folder_that_cross_encoder_saved_itself_gives_its_scores(tier: Tier, tmp_path: Path) -> None:
    written = write_judge("bert", tmp_path / "written")
    encoder = CrossEncoder(str(written), device="cpu", activation_fn=torch.nn.Tanh(), max_length=12)
    encoder.save_pretrained(str(tmp_path / "m"))
    expected = by_cross_encoder(tmp_path / "m", LONG)
    found = scores(bound_judge(tmp_path / "m", "rerank", tier), LONG, truncate=True)
    assert found.scores == pytest.approx(expected, abs=1e-6)
    assert max(tokens.kept for tokens in found.tokens) == 12


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2"])
def test_pairs_that_are_too_long_are_cut_as_cross_encoder_cuts_them(family: str, tier: Tier, tmp_path: Path) -> None:
    checkpoint = write_judge(family, tmp_path / "m")
    found = scores(bound_judge(checkpoint, "rerank", tier), LONG, truncate=True)
    assert found.scores == pytest.approx(by_cross_encoder(checkpoint, LONG), abs=1e-6)
    assert [tokens.kept for tokens in found.tokens[:2]] == [MOST_TOKENS, MOST_TOKENS]
    assert found.tokens[0].seen > MOST_TOKENS
    assert found.tokens[2].seen == found.tokens[2].kept < MOST_TOKENS


def test_of_a_text_without_end_only_the_beginning_is_read(tier: Tier, tmp_path: Path) -> None:
    checkpoint = write_judge("bert", tmp_path / "m")
    endless = ("the cat sits on the warm sill " * 20_000, "dog" * 1_000_000)
    lane = bound_judge(checkpoint, "rerank", tier)
    found = scores(lane, endless, truncate=True)
    assert found.scores == scores(lane, ("the cat sits on the warm sill " * 20, "dog" * 4), truncate=True).scores
    assert (found.tokens[0].kept, found.tokens[0].read_whole) == (MOST_TOKENS, False)
    assert found.tokens[0].seen < 1_000
    with pytest.raises(BadRequest, match="document 1 together with the query is more than"):
        scores(lane, endless)


@pytest.mark.parametrize(
    ("kind", "said", "longest"), [("CrossEncoder", 10, 10), ("CrossEncoder", 30, 30), (None, 10, MOST_TOKENS)]
)
def test_the_longest_pair_is_what_sentence_transformers_makes_of_its_own_files(
    kind: str | None, said: int, longest: int, tier: Tier, tmp_path: Path
) -> None:
    checkpoint = write_judge("bert", tmp_path / "m")
    own = {"max_seq_length": said, "do_lower_case": False, "transformer_task": "sequence-classification"}
    change_json(checkpoint / "sentence_bert_config.json", **own)
    change_json(checkpoint / "config_sentence_transformers.json", model_type=kind)
    listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    (checkpoint / "modules.json").write_text(json.dumps(listed))
    found = scores(bound_judge(checkpoint, "rerank", tier, limits=Limits(4, 40)), LONG, truncate=True)
    assert found.scores == pytest.approx(by_cross_encoder(checkpoint, LONG), abs=1e-6)
    assert max(tokens.kept for tokens in found.tokens) == longest


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_texts_are_cut_without_being_asked_for_where_the_catalog_says_so(
    family: str, tier: Tier, tmp_path: Path
) -> None:
    limits = Limits(4, MOST_TOKENS, truncate=True)
    judge = write_judge(family, tmp_path / "judge")
    asked = scores(bound_judge(judge, "rerank", tier), LONG, truncate=True)
    assert scores(bound_judge(judge, "rerank", tier, limits=limits), LONG) == asked
    sorter = write_judge(family, tmp_path / "sorter", labels=3)
    sorted_out = label_scores(bound_judge(sorter, "classify", tier), LONG, truncate=True)
    assert label_scores(bound_judge(sorter, "classify", tier, limits=limits), LONG) == sorted_out


def test_what_is_too_long_is_refused_with_its_number_and_the_way_out(tier: Tier, tmp_path: Path) -> None:
    lane = bound_judge(write_judge("bert", tmp_path / "m"), "rerank", tier)
    with pytest.raises(
        BadRequest,
        match=r"document 2 together with the query is \d+ tokens long.* reads 24.*--truncate.* in the catalog",
    ):
        scores(lane, ("dog", LONG[0]))


def test_limits_too_small_for_any_text_are_named_when_the_model_is_loaded(tier: Tier, tmp_path: Path) -> None:
    checkpoint = write_judge("bert", tmp_path / "m")
    with pytest.raises(BadRequest, match=r"can't be cut: the model reads 3 tokens, .* raise max_sequence"):
        bound_judge(checkpoint, "rerank", tier, limits=Limits(4, 3))


def test_batches_of_any_size_give_the_same_scores_in_the_same_order(tier: Tier, tmp_path: Path) -> None:
    checkpoint = write_judge("bert", tmp_path / "m")
    alone = bound_judge(checkpoint, "rerank", tier, limits=Limits(1, MOST_TOKENS))
    together = bound_judge(checkpoint, "rerank", tier, limits=Limits(8, MOST_TOKENS))
    assert scores(alone).scores == pytest.approx(scores(together).scores, abs=1e-6)


def test_no_documents_get_no_scores(tier: Tier, tmp_path: Path) -> None:
    assert scores(bound_judge(write_judge("bert", tmp_path / "m"), "rerank", tier), ()).scores == ()


@pytest.mark.parametrize(
    "family", ["bert", "roberta", "deberta-v2", "modernbert", "distilbert", "t5", "qwen2", "llama"]
)
def test_texts_get_the_scores_that_transformers_pipeline_gives_them(family: str, tier: Tier, tmp_path: Path) -> None:
    checkpoint = write_judge(family, tmp_path / "m", labels=3)
    found = label_scores(bound_judge(checkpoint, "classify", tier))
    assert found.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    for row, expected in zip(found.scores, by_pipeline(checkpoint), strict=True):
        assert row == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (3, "single_label_classification"),
        (3, "multi_label_classification"),
        (2, "regression"),
        (1, "regression"),
        (1, None),
    ],
)
def test_figures_become_what_the_kind_of_problem_makes_of_them(
    labels: int, problem: str | None, tier: Tier, tmp_path: Path
) -> None:
    checkpoint = write_judge("bert", tmp_path / "m", labels, problem_type=problem)
    found = label_scores(bound_judge(checkpoint, "classify", tier))
    for row, expected in zip(found.scores, by_pipeline(checkpoint), strict=True):
        assert row == pytest.approx(expected, abs=1e-5)


def test_labels_have_the_names_of_the_configuration(tier: Tier, tmp_path: Path) -> None:
    names = {"1": "entailment", "0": "contradiction", "2": "neutral"}
    checkpoint = write_judge("bert", tmp_path / "m", 3, id2label=names)
    found = label_scores(bound_judge(checkpoint, "classify", tier))
    assert found.labels == ("contradiction", "entailment", "neutral")


def test_scores_that_are_no_numbers_are_refused_with_the_dtype(tier: Tier, tmp_path: Path) -> None:
    checkpoint = write_judge("bert", tmp_path / "m")
    _spoil(checkpoint, "classifier.weight", 60_000.0)
    with pytest.raises(BadCheckpoint, match=r"scores are no numbers in float16, .*choose bfloat16 or float32"):
        bound_judge(checkpoint, "rerank", tier, "float16")


@pytest.mark.parametrize(
    ("family", "weight"),
    [("bert", "classifier.weight"), ("bert", "bert.pooler.dense.weight"), ("deberta-v2", "pooler.dense.weight")],
)
def test_a_checkpoint_without_a_weight_of_its_head_is_refused(family: str, weight: str, tmp_path: Path) -> None:
    checkpoint = write_judge(family, tmp_path / "m")
    _spoil(checkpoint, weight, None)
    with pytest.raises(BadCheckpoint, match=rf"lacks 1 weights of \w+ForSequenceClassification, such as {weight}"):
        prepare_judge(checkpoint, "rerank")


def _spoil(checkpoint: Path, name: str, value: float | None) -> None:
    """Fill a weight with the value, or leave it out."""
    from safetensors.torch import load_file, save_file

    path = checkpoint / "model.safetensors"
    weights = load_file(path)
    if value is None:
        del weights[name]
    else:
        weights[name] = torch.full_like(weights[name], value)
    save_file(weights, path, metadata={"format": "pt"})
