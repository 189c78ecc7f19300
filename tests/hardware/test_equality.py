"""A model bound on the card answers as `from_pretrained` on the same card does, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.core.models import Limits
from engine.core.tasks import Embed
from engine.weights.sentence_files import read_sentence_format
from engine.worker.convert import load_module
from engine.worker.cuda import CudaBacking
from engine.worker.embedding import Embedder
from engine.worker.residents import bind, unbind
from engine.worker.sentence_modules import ModulesBehind
from engine.worker.skeleton import Skeleton
from engine.worker.tokenizer import load_tokenizer
from tests.worker.int8 import float16_model, prepare_in_int8, round_matrices
from tests.worker.lanes import embed
from tests.worker.models import EMBEDDING, GENERATION, Tier, filled, prepare_random, run
from tests.worker.small_recipes import SMALL_EMBEDDER, prepare_small

TEXTS = ["a cat", "a stock market " * 30, "", "a kitten that sleeps on a very warm windowsill"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", [*EMBEDDING, *GENERATION])
def test_a_bound_model_equals_from_pretrained_bit_for_bit(
    family: str, dtype: torch.dtype, backing: CudaBacking, tier: Tier, tmp_path: Path
) -> None:
    reference, prepared = prepare_random(family, tmp_path, dtype)
    torch.nn.Module.to(reference, "cuda")
    skeleton = Skeleton(prepared.folder)
    source = tier.read(prepared)
    for _ in range(2):
        placement = filled(backing, source)
        bind(skeleton, placement)
        bound = run(skeleton.module)
        assert bound.is_cuda
        assert torch.equal(bound, run(reference))
        unbind(skeleton)
        assert placement.vacate() == 0


@pytest.mark.parametrize("family", [*EMBEDDING, *GENERATION])
def test_an_int8_model_equals_the_float16_model_with_its_matrices_rounded_bit_for_bit(
    family: str, backing: CudaBacking, tier: Tier, tmp_path: Path
) -> None:
    prepared = prepare_in_int8(family, tmp_path)
    reference = float16_model(family, tmp_path)
    round_matrices(reference, prepared)
    torch.nn.Module.to(reference, "cuda")
    skeleton = Skeleton(prepared.folder)
    bind(skeleton, filled(backing, tier.read(prepared)))
    assert torch.equal(run(skeleton.module), run(reference))


def test_embeddings_equal_those_of_from_pretrained_and_lie_on_the_cpu(
    backing: CudaBacking, tier: Tier, tmp_path: Path
) -> None:
    prepared = prepare_small(SMALL_EMBEDDER, tmp_path)
    reference = load_module(tmp_path / f"{SMALL_EMBEDDER.kind}-checkpoint", "embedding", torch.float32)
    torch.nn.Module.to(reference, "cuda")
    skeleton = Skeleton(prepared.folder)
    bind(skeleton, filled(backing, tier.read(prepared)))
    tokenizer = load_tokenizer(prepared.folder)
    behind = ModulesBehind(prepared.folder, read_sentence_format(prepared.folder))
    made, expected = (
        embed(Embedder(module, tokenizer, behind, Limits(4, 64)), Embed(tuple(TEXTS), truncate=True)).vectors
        for module in (skeleton.module, reference)
    )
    assert made.device.type == "cpu"
    assert torch.equal(made, expected)
