from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.weights.errors import BadCheckpoint
from engine.weights.pooling import read_pooling
from engine.worker.embedding import pool


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
