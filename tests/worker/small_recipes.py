"""The synthetic recipes made small, with tokenizers, and prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from engine.weights.recipes import RECIPES, Recipe
from engine.weights.slab import Prepared
from engine.worker.convert import prepare
from engine.worker.protocol import Prepare
from engine.worker.synthetic import make
from tests.worker.models import SMALL


def _small(kind: str, **sizes: int) -> Recipe:
    recipe = RECIPES[kind]
    return msgspec.structs.replace(recipe, config=recipe.config | SMALL | sizes, stored_dtype="float32")


SMALL_EMBEDDER: Final = _small("e5-small", vocab_size=300)
SMALL_GENERATOR: Final = _small("phi-3-mini", vocab_size=400, num_key_value_heads=4)


def prepare_small(recipe: Recipe, folder: Path) -> Prepared:
    """The recipe's checkpoint, made in the folder and prepared beside it."""
    checkpoint, prepared = folder / f"{recipe.kind}-checkpoint", folder / recipe.kind
    make(recipe, checkpoint)
    request = Prepare(1, "m", f"path:{checkpoint}", str(checkpoint), str(prepared), recipe.task, "float32", None)
    return prepare(request, lambda _: None)
