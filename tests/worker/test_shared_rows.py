"""What a request gets is what it would get alone, whoever's rows share its batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from transformers import PreTrainedModel

from engine.core.models import Limits
from engine.core.tasks import Classify, Embed, LabelScores, Rerank, Scores, Task, TaskKind, TaskResult, Vectors
from engine.weights.heads import read_head
from engine.worker.convert import load_in
from engine.worker.judging import Classifier, Judge, Reranker
from engine.worker.lanes import Runner, Turn
from engine.worker.tokenizer import load_tokenizer
from tests.worker.judging_checkpoints import MOST_TOKENS, WORDS, change_json, write_judge
from tests.worker.lanes import ask, embed, ran
from tests.worker.sentence_models import POSITIONS, embedder, write_model

LIMITS: Final = Limits(max_batch=16, max_sequence=MOST_TOKENS)
PROMPTS: Final = {"prompts": {"query": "query : ", "passage": "passage : "}, "default_prompt_name": "query"}
FIGURES: Final = 1e-6
"""What vectors and scores may differ by: other batches are summed in another order."""


class Shapes(list[tuple[int, int]]):
    """Those of the batches that the module ran: rows and tokens."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        module.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, _: torch.nn.Module, __: tuple[object, ...], inputs: dict[str, torch.Tensor]) -> None:
        rows, tokens = inputs["input_ids"].shape
        self.append((rows, tokens))


def together(runner: Runner, tasks: Sequence[Task]) -> list[TaskResult]:
    """What comes of tasks that wait for the same batch."""
    turn = Turn()
    lane = runner.lane("m", turn)
    with turn.mine():
        answers = [ask(lane, task) for task in tasks]
    results = [answer.result().result for answer in answers]
    lane.close()
    return results


def figures(result: TaskResult) -> torch.Tensor:
    match result:
        case Vectors():
            return torch.tensor(result.rows())
        case Scores() | LabelScores():
            return torch.tensor(result.scores)
        case _:
            raise AssertionError(result)


def assert_as_alone(runner: Runner, tasks: Sequence[Task], results: Sequence[TaskResult]) -> None:
    for task, result in zip(tasks, results, strict=True):
        alone = ran(runner, task).result
        torch.testing.assert_close(figures(result), figures(alone), atol=FIGURES, rtol=FIGURES)
        assert isinstance(result, Vectors | Scores | LabelScores)
        assert isinstance(alone, type(result))
        assert result.tokens == alone.tokens


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"pooling": {"pooling_mode": "mean", "include_prompt": False}},
        {"pooling": {"pooling_mode": ["cls", "weightedmean"], "include_prompt": False}},
        {"pooling": {"pooling_mode": "lasttoken"}, "side": "left", "family": "llama"},
        {"modules": ("Pooling", "Dense", "Normalize")},
        {"family": "roberta"},
    ],
    ids=str,
)
def test_texts_with_other_prompts_and_dimensions_share_a_batch(kind: dict[str, Any], tmp_path: Path) -> None:
    folder = write_model(tmp_path, prompts=PROMPTS, **kind)
    module = load_in(folder, "embedding", "float32")
    runner, shapes = embedder(folder, module=module), Shapes(module)
    tasks = [
        Embed(("a cat sat on the mat",)),
        Embed(("the kitten sat on a mat", "stock market"), prompt="passage"),
        Embed(("a stock market : the cat",), dimensions=8),
        Embed(("the cat sat on the cat on the mat",), prompt_text="a "),
        Embed(("cat sat on the mat",), prompt="query", dimensions=12),
        Embed(("cat sat on the mat",), prompt_text=""),
    ]
    results = together(runner, tasks)
    assert [rows for rows, _ in shapes] == [7]
    assert_as_alone(runner, tasks, results)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ({"side": "left"}, {}),
        ({"side": "left", "family": "mpnet"}, {}),
        ({"family": "llama"}, {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0}}),
    ],
    ids=str,
)
def test_requests_share_no_batch_where_a_row_may_suffer_by_a_longer_one(
    kind: dict[str, Any], changes: dict[str, Any], tmp_path: Path
) -> None:
    folder = write_model(tmp_path, **kind)
    change_json(folder / "config.json", max_position_embeddings=8 if changes else POSITIONS, **changes)
    module = load_in(folder, "embedding", "float32")
    runner, shapes = embedder(folder, module=module), Shapes(module)
    tasks = [Embed(("a cat sat on the mat",)), Embed(("the cat sat on the cat on the mat", "stock market"))]
    results = together(runner, tasks)
    assert [rows for rows, _ in shapes] == [1, 2]
    for task, result in zip(tasks, results, strict=True):
        assert_as_alone(embedder(folder), [task], [result])


def judge(folder: Path, kind: TaskKind) -> tuple[PreTrainedModel, Judge]:
    module = load_in(folder, kind, "float32")
    return module, Judge(module, load_tokenizer(folder), read_head(folder), LIMITS)


PAIRS: Final = [
    Rerank("who sits on the mat", ("the cat sits on the mat", "a dog sits today")),
    Rerank("a dog", ("the market fell today on the warm sill",)),
    Rerank("the warm sill today", ("a cat sits on it", "who", "stock market fell today")),
]
TEXTS: Final = [Classify((" ".join(WORDS[:count]),)) for count in (5, 9, 7)] + [
    Classify(("a dog sits on the sill", "stock market fell today on the mat"))
]


@pytest.mark.parametrize(("family", "batches"), [("bert", [6]), ("deberta-v2", [6]), ("t5", [6]), ("llama", [1] * 6)])
def test_pairs_of_several_requests_share_a_batch_where_padding_is_not_read(
    family: str, batches: list[int], tmp_path: Path
) -> None:
    folder = write_judge(family, tmp_path / "m")
    module, judges = judge(folder, "rerank")
    runner, shapes = Reranker(judges, read_head(folder)), Shapes(module)
    results = together(runner, PAIRS)
    assert [rows for rows, _ in shapes] == batches
    assert_as_alone(runner, PAIRS, results)


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", "regression"])
def test_texts_of_several_requests_are_sorted_out_in_one_batch(problem: str, tmp_path: Path) -> None:
    folder = write_judge("bert", tmp_path / "m", 3, problem_type=problem)
    module, judges = judge(folder, "classify")
    runner, shapes = Classifier(judges, read_head(folder)), Shapes(module)
    results = together(runner, TEXTS)
    assert [rows for rows, _ in shapes] == [5]
    assert_as_alone(runner, TEXTS, results)


def test_vectors_are_equal_to_the_bit_where_the_batch_has_the_same_shape(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    module = load_in(folder, "embedding", "float32")
    runner, shapes = embedder(folder, module=module), Shapes(module)
    texts = [f"{word} cat sat on the {word}" for word in ("a", "the", "stock", "market")]
    apart = together(runner, [Embed((text,)) for text in texts])
    whole = embed(runner, Embed(tuple(texts)))
    assert shapes == [(4, 8), (4, 8)]
    assert torch.equal(torch.cat([figures(result) for result in apart]), whole.vectors)


def test_a_request_that_is_alone_runs_in_full_batches_of_its_rows_by_length(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    module = load_in(folder, "embedding", "float32")
    runner, shapes = embedder(folder, limits=Limits(4, POSITIONS), module=module), Shapes(module)
    lengths = [9, 3, 30, 4, 12, 5, 3, 11, 28]
    ran(runner, Embed(tuple(" ".join(["cat"] * (length - 2)) for length in lengths)))
    assert shapes == [(4, 5), (4, 28), (1, 30)]
