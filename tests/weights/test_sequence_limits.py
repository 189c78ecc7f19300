"""How many tokens a model takes: its own word, the catalog's, and what the devices have room for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from msgspec.structs import replace

from engine.core.devices import DeviceSpec
from engine.core.models import Limits, ModelSpec
from engine.core.names import DeviceId
from engine.core.sizes import GIB, MIB
from engine.core.tasks import TaskKind
from engine.weights.errors import BadCheckpoint
from engine.weights.estimates import estimate_footprint
from engine.weights.sequence_limits import OwnLimit, SettledLimits, own_limit, settle_limits
from engine.weights.sources import Source, resolve
from tests.weights.checkpoints import BERT_CONFIG, write_checkpoint

SPEC: Final = ModelSpec("m", (), "embedding", has_own_limit=True)


def device(name: DeviceId, total_bytes: int) -> DeviceSpec:
    return DeviceSpec(name, "a device", "gpu", "ram", total_bytes, 1.0)


def folder_with(
    folder: Path, config: dict[str, Any], length: float | None = None, sentence: dict[str, Any] | None = None
) -> Path:
    write_checkpoint(folder)
    (folder / "config.json").write_bytes(msgspec.json.encode({**BERT_CONFIG, **config}))
    if length is not None:
        (folder / "tokenizer_config.json").write_bytes(msgspec.json.encode({"model_max_length": length}))
    if sentence is not None:
        (folder / "sentence_bert_config.json").write_bytes(msgspec.json.encode(sentence))
    return folder


def settled(folder: Path, spec: ModelSpec = SPEC, *devices: DeviceSpec) -> SettledLimits:
    return settle_limits(spec, Source(f"path:{folder}", folder), devices)


@pytest.mark.parametrize(
    ("config", "length", "sentence", "tokens"),
    [
        ({"max_position_embeddings": 512}, None, None, 512),
        ({"max_position_embeddings": 512}, 1e30, None, 512),
        ({"max_position_embeddings": 512}, 256, None, 256),
        ({"max_position_embeddings": 512}, 512, {"max_seq_length": 256}, 256),
        ({"max_position_embeddings": 512}, 128, {"max_seq_length": 256}, 256),
        ({"max_position_embeddings": 512}, 512, {"max_seq_length": None}, 512),
        ({"max_position_embeddings": 64}, 512, {"max_seq_length": 512}, 64),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 514, None, 512),
        (
            {"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 0},
            None,
            {"max_seq_length": 514},
            512,
        ),
        ({"model_type": "gpt2", "n_positions": 32}, None, None, 32),
        ({"model_type": "t5", "n_positions": 512}, None, {"max_seq_length": 1024}, 1024),
        ({"model_type": "llama", "max_position_embeddings": 64}, 1e30, None, 64),
        ({"model_type": "llama", "max_position_embeddings": 64}, 32, None, 32),
        (
            {"max_position_embeddings": 64, "rope_parameters": {"rope_type": "yarn", "factor": 4.0}},
            512,
            None,
            256,
        ),
        ({"model_type": "gemma3", "text_config": {"max_position_embeddings": 96}}, None, None, 96),
    ],
)
def test_the_longest_text_is_what_the_models_files_say(
    config: dict[str, Any], length: float | None, sentence: dict[str, Any] | None, tokens: int, tmp_path: Path
) -> None:
    folder = folder_with(tmp_path, config, length, sentence)
    assert own_limit(folder, "embedding").usual == tokens
    assert settled(folder).limits == Limits(max_sequence=tokens)


@pytest.mark.parametrize("task", ["rerank", "classify"])
@pytest.mark.parametrize(
    ("length", "saved_as", "said", "tokens"),
    [
        (None, None, None, 512),
        (256, None, None, 256),
        (256, "CrossEncoder", 128, 128),
        (128, "CrossEncoder", 256, 256),
        (256, "CrossEncoder", 1024, 512),
        (256, "SentenceTransformer", 128, 256),
    ],
)
def test_the_longest_pair_is_what_the_files_of_a_judging_model_say(
    task: TaskKind, length: float | None, saved_as: str | None, said: int | None, tokens: int, tmp_path: Path
) -> None:
    folder = folder_with(tmp_path, {"max_position_embeddings": 512}, length, {"max_seq_length": said})
    (folder / "config_sentence_transformers.json").write_bytes(msgspec.json.encode({"model_type": saved_as}))
    (folder / "modules.json").write_text('[{"type": "sentence_transformers.models.Transformer", "path": ""}]')
    assert settled(folder, replace(SPEC, task=task)).limits == Limits(max_sequence=tokens)


@pytest.mark.parametrize(("length", "tokens"), [(None, 96), (1e30, 96), (64, 64), (128, 96)])
def test_prompt_and_answer_together_are_as_long_as_a_generators_files_say(
    length: float | None, tokens: int, tmp_path: Path
) -> None:
    folder = folder_with(tmp_path, {"model_type": "gpt2", "n_positions": 96}, length, {"max_seq_length": 8})
    assert settled(folder, replace(SPEC, task="generation")).limits == Limits(max_sequence=tokens)


@pytest.mark.parametrize("task", ["embedding", "generation", "rerank", "classify"])
def test_models_of_every_task_keep_the_catalogs_other_limits(task: TaskKind, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, {"max_position_embeddings": 64})
    spec = replace(SPEC, task=task, limits=Limits(4, truncate=True))
    assert settled(folder, spec).limits == Limits(4, 64, truncate=True)


def test_a_model_whose_files_say_nothing_has_the_usual_limit(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, {"max_position_embeddings": None})
    assert own_limit(folder, "embedding") == OwnLimit()
    assert settled(folder).limits == Limits()


def test_the_catalog_may_ask_for_less(tmp_path: Path) -> None:
    asked = ModelSpec("m", (), "embedding", limits=Limits(4, 32))
    assert settled(folder_with(tmp_path, {"max_position_embeddings": 64}), asked) == SettledLimits(Limits(4, 32))


def test_more_than_there_are_positions_is_refused(tmp_path: Path) -> None:
    asked = ModelSpec("m", (), "embedding", limits=Limits(4, 65))
    folder = folder_with(tmp_path, {"max_position_embeddings": 64})
    with pytest.raises(
        BadCheckpoint, match=r"max_sequence of m is 65, and .* has 64 positions \(config.json\); lower it"
    ):
        settled(folder, asked)


def test_more_than_the_model_takes_is_lowered_in_words(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, {"max_position_embeddings": 512}, 512, {"max_seq_length": 256})
    found = settled(folder, ModelSpec("m", (), "embedding", limits=Limits(4, 512)))
    assert found.limits == Limits(4, 256)
    assert found.remark == (
        "m: max_sequence is 256, not the catalog's 512: sentence_bert_config.json: max_seq_length says so"
    )


def test_a_model_that_computes_its_positions_may_be_asked_for_more_and_says_so(tmp_path: Path) -> None:
    asked = ModelSpec("m", (), "embedding", limits=Limits(4, 120))
    found = settled(folder_with(tmp_path, {"max_position_embeddings": 32, "rope_theta": 1e4}), asked)
    assert found == SettledLimits(Limits(4, 120), "m: max_sequence is 120, and it was trained for 32")


def test_a_limit_of_its_own_is_lowered_to_what_its_devices_hold(tmp_path: Path) -> None:
    spec = replace(SPEC, sources=("synthetic:phi-3-mini",), task="generation", dtype="float16")
    source = resolve(spec, tmp_path)
    small, tiny = device("gpu0", 2 * GIB), device("gpu1", 100 * MIB)
    found = settle_limits(spec, source, (small, device("cpu", 64 * GIB), tiny))
    needed = estimate_footprint(replace(spec, limits=found.limits), source).total_bytes
    twice = replace(found.limits, max_sequence=2 * found.limits.max_sequence)
    assert needed <= small.total_bytes < estimate_footprint(replace(spec, limits=twice), source).total_bytes
    assert found.remark.startswith(
        f"m: max_sequence is lowered to {found.limits.max_sequence}: with its own 4096 it would"
    )
    assert settle_limits(spec, source, (device("cpu", 64 * GIB),)).limits.max_sequence == 4096
