"""The reference box's configuration: two cards of 6 GiB, and phi-3-mini in its real shape, 3.8 billion random weights in int8.

`python -m tests.standin.reference_box FOLDER` writes both to `FOLDER`: 7.6 GB. `make run STANDIN=1 ARGS="--config FOLDER …"` runs
it; it needs about 14 GB of RAM, since the cards are RAM too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from engine.weights.recipes import RECIPES
from engine.worker.synthetic import make

SHAPE: Final = {
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
}
"""Of microsoft/Phi-3-mini-4k-instruct, where the synthetic model of the catalog has smaller values."""
PARAMETERS: Final = 3_821_079_552
CATALOG: Final = Path(__file__).parents[2] / "config" / "model_gpu_mapping.json"
SETTINGS: Final = """\
ram_tier: {budget: 5GiB, max_models: 4}
loading: {timeout_s: 300}
recording: {max_size: 16MiB}
"""


def main(arguments: list[str]) -> int:
    """Write what is not there yet."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m tests.standin.reference_box FOLDER\n")
        return 2
    folder = Path(arguments[1]).absolute()
    phi3 = folder / "phi-3-mini-random-weights"
    if not phi3.is_dir():
        small = RECIPES["phi-3-mini"]
        make(replace(small, config=small.config | SHAPE, parameters=PARAMETERS), phi3)
    catalog = json.loads(CATALOG.read_text(encoding="utf-8"))
    for model in catalog["models"]:
        if model["name"] == "phi-3-mini":
            model |= {"source": f"path:{phi3}", "dtype": "int8"}
    (folder / CATALOG.name).write_text(json.dumps(catalog, indent=2) + "\n", encoding="utf-8")
    (folder / "gpu_allocation.yaml").write_text(SETTINGS, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
