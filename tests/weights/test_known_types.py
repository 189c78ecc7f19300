"""What transformers knows is read from its source, in each of the ways in which its versions write it, and never imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from transformers import AutoConfig

from engine.weights.known_types import class_tables, default_sizes, known_classes

READ = """
from engine.weights.known_types import class_tables, default_sizes, known_classes
print(class_tables()["MODEL"]["old"], sorted(known_classes("new-text")))
print(dict(default_sizes("old")), dict(default_sizes("new-text")))
"""


def test_types_classes_and_sizes_are_those_that_transformers_has() -> None:
    assert class_tables()["MODEL_FOR_CAUSAL_LM"]["llama"] == ("LlamaForCausalLM",)
    assert {"BertConfig", "BertModel", "BertForMaskedLM"} <= known_classes("bert")
    for model_type in ("bert", "gemma3_text", "qwen3", "xlm-roberta"):
        config, sizes = AutoConfig.for_model(model_type), default_sizes(model_type)
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
            assert sizes[name] == getattr(config, name)


def test_other_ways_of_writing_it_are_read_too(tmp_path: Path) -> None:
    auto = tmp_path / "transformers" / "models" / "auto"
    auto.mkdir(parents=True)
    (tmp_path / "transformers" / "__init__.py").write_text("raise AssertionError('imported')")
    (auto / "configuration_auto.py").write_text(
        "CONFIG_MAPPING_NAMES = OrderedDict[str, str]([('old', 'OldConfig'), ('new-text', 'NewTextConfig')])"
    )
    (auto / "modeling_auto.py").write_text(
        "MODEL_MAPPING_NAMES: OrderedDict = OrderedDict([('old', 'OldModel'), ('new-text', ('NewModel', 'NewOther'))])"
    )
    (auto.parent / "old").mkdir()
    (auto.parent / "old" / "configuration_old.py").write_text(
        "class OldConfig(Base):\n    def __init__(self, vocab_size: int = 30, name='x', hidden_size=8, **more): ..."
    )
    (auto.parent / "new").mkdir()
    (auto.parent / "new" / "configuration_new.py").write_text("class NewTextConfig(Base):\n    hidden_size: int = 16")
    here = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", READ],
        env={"PYTHONPATH": f"{tmp_path}:{here}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        "('OldModel',) ['NewModel', 'NewOther', 'NewTextConfig']\n{'hidden_size': 8, 'vocab_size': 30} {'hidden_size': 16}\n"
    )
