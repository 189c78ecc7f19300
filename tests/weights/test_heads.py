"""A head that does not fit the catalog's task is told by its configuration, with the task that it fits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.core.models import ModelSpec
from engine.core.tasks import TaskKind
from engine.weights.checkpoint_json import read_json_object
from engine.weights.errors import BadCheckpoint, SourceMissing
from engine.weights.heads import check_head, read_head
from engine.weights.sources import resolve
from tests.weights.checkpoints import BERT_CONFIG, write_checkpoint

ONE = {"id2label": {"0": "LABEL_0"}}
THREE = {"id2label": {"0": "no", "1": "yes", "2": "perhaps"}}
JUDGING = {"architectures": ["BertForSequenceClassification"]}
CROSS_ENCODER = {"model_type": "CrossEncoder"}
POOLING = [{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.Pooling"}]


def checkpoint(folder: Path, modules: object = None, **config: object) -> Path:
    write_checkpoint(folder)
    (folder / "config.json").write_text(json.dumps(BERT_CONFIG | config))
    if modules is not None:
        (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def config_of(folder: Path) -> dict[str, object]:
    return read_json_object(folder / "config.json")


@pytest.mark.parametrize(
    ("task", "config", "words"),
    [
        ("embedding", JUDGING | ONE, r'makes no embeddings; choose "task": "rerank"'),
        ("embedding", JUDGING | THREE, r'makes no embeddings; choose "task": "classify"'),
        ("embedding", JUDGING, r'choose "task": "classify"'),
        ("generation", JUDGING | ONE, r'makes no text; choose "task": "rerank"'),
        ("rerank", JUDGING | THREE, r'has 3 labels, and a reranker has one; choose "task": "classify"'),
        ("rerank", {"architectures": ["BertModel"]}, r'BertModel, which judges no texts; choose "task": "embedding"'),
        ("classify", {"architectures": ["Qwen3ForCausalLM"]}, r'choose "task": "generation", or, for a reranker'),
    ],
)
def test_a_head_for_another_task_is_refused_with_the_task_to_choose(
    task: TaskKind, config: dict[str, object], words: str, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path / "m", **config)
    with pytest.raises(BadCheckpoint, match=rf"config\.json: .*{words}"):
        check_head(folder, config_of(folder), task)
    with pytest.raises(SourceMissing, match=f"m has no source that can be used.*{words}"):
        resolve(ModelSpec("m", (f"path:{folder}",), task), tmp_path)


@pytest.mark.parametrize(
    ("task", "config"),
    [
        ("rerank", JUDGING | ONE),
        ("rerank", ONE),
        ("classify", JUDGING | ONE),
        ("classify", JUDGING | THREE),
        ("embedding", {"architectures": ["BertModel"]}),
        ("embedding", {}),
    ],
)
def test_a_head_that_fits_its_task_is_taken(task: TaskKind, config: dict[str, object], tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "m", **config)
    assert resolve(ModelSpec("m", (f"path:{folder}",), task), tmp_path).folder == folder


def test_an_embedder_made_of_a_classifier_is_an_embedder_and_no_reranker(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "m", POOLING, **JUDGING, **ONE)
    check_head(folder, config_of(folder), "embedding")
    with pytest.raises(BadCheckpoint, match=r'modules\.json makes vectors of texts .* choose "task": "embedding"'):
        check_head(folder, config_of(folder), "rerank")


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("config.json", JUDGING | {"id2label": {"1": "a"}}, "id2label does not number its labels from 0"),
        ("config.json", JUDGING | {"id2label": 3}, "id2label does not number"),
        ("config.json", ONE | {"problem_type": "ranking"}, "problem_type is 'ranking', and known are regression"),
        ("config.json", ONE | {"sentence_transformers": {"activation_fn": "my.Own"}}, r"activation_fn is my\.Own"),
        ("config.json", ONE | {"sentence_transformers": {"activation_fn": "torch.nn.Linear"}}, r"is torch\.nn\.Linear"),
        ("config_sentence_transformers.json", {"activation_fn": "os.system"}, r"activation_fn is os\.system"),
        ("config_sentence_transformers.json", {"keep_in_fp32_modules": ["0"]}, "keep_in_fp32_modules is not supported"),
        (
            "config_sentence_transformers.json",
            {"prompts": {"query": "Query: "}, "default_prompt_name": "query"},
            "default_prompt_name is 'query'",
        ),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case is not supported"),
        ("sentence_bert_config.json", {"max_seq_length": "long"}, "max_seq_length is 'long'"),
        ("sentence_bert_config.json", {"transformer_task": "text-generation"}, "transformer_task is 'text-generation'"),
        (
            "modules.json",
            [{"type": "sentence_transformers.cross_encoder.modules.LogitScore"}],
            "LogitScore behind the model",
        ),
    ],
)
def test_what_a_heads_files_ask_for_and_is_not_done_is_refused_by_file_and_key(
    name: str, values: object, words: str, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path / "m", [{"type": "sentence_transformers.models.Transformer"}], **ONE)
    if name == "config.json":
        assert isinstance(values, dict)
        values = BERT_CONFIG | values
    if name == "config_sentence_transformers.json":
        assert isinstance(values, dict)
        values = values | CROSS_ENCODER
    (folder / "config_sentence_transformers.json").write_text(json.dumps(CROSS_ENCODER))
    (folder / name).write_text(json.dumps(values))
    with pytest.raises(BadCheckpoint, match=rf"{name}.* .*{words}"):
        check_head(folder, config_of(folder), "classify")


def test_a_configuration_that_names_no_labels_has_as_many_as_transformers_gives_it(tmp_path: Path) -> None:
    assert read_head(checkpoint(tmp_path / "none")).labels == ("LABEL_0", "LABEL_1")
    assert read_head(checkpoint(tmp_path / "count", num_labels=1)).labels == ("LABEL_0",)
