"""What a checkpoint says of the head that it ends in: whether that judges texts, its labels, and what turns its figures into
scores. Read without torch, so that a head that does not fit its task is told before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from msgspec import Struct

from engine.core.serialization import Undecodable, converted, from_json
from engine.core.tasks import TaskKind
from engine.core.texts import quoted
from engine.weights.checkpoint_json import CONFIG_FILE, MOST_JSON_BYTES, read_json_object
from engine.weights.errors import BadCheckpoint
from engine.weights.sentence_files import MODULES_FILE
from engine.whole_file import read_whole

_JUDGING: Final = "ForSequenceClassification"
_WRITING: Final = ("ForCausalLM", "LMHeadModel")
_SETTINGS: Final = "config_sentence_transformers.json"
_LENGTH: Final = "sentence_bert_config.json"
_UNREAD: Final = ("tokenizer_args", "processor_kwargs", "processing_kwargs", "tokenizer_name_or_path", "unpad_inputs")
"""Settings of sentence-transformers that may change what is read of a text."""
_USUAL_LABELS: Final = 2
"""Of a configuration that names none, by transformers' rule."""

ScoreActivation: TypeAlias = Literal[
    "Sigmoid", "Identity", "Tanh", "ReLU", "Softplus", "LogSigmoid", "Hardsigmoid", "Softsign", "SiLU", "GELU"
]
"""Functions of torch.nn that make one figure of one."""
Problem: TypeAlias = Literal["regression", "single_label_classification", "multi_label_classification"]
"""What kind of answer a classifier was trained for, as transformers words it."""


class Head(Struct, frozen=True):
    """What a head that judges texts makes of them."""

    labels: tuple[str, ...]
    problem: Problem
    activation: ScoreActivation = "Sigmoid"
    """Of a reranker's only figure."""
    most_tokens: int | None = None
    """The longest input, as its files for sentence-transformers say; None where they don't."""


def check_head(folder: Path, config: Mapping[str, Any], task: TaskKind) -> None:
    """Raises BadCheckpoint when the checkpoint's head is not one for the task, or asks for what is not done here."""
    path = folder / CONFIG_FILE
    listed = config.get("architectures")
    names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    judging = [name for name in names if name.endswith(_JUDGING)]
    if task in ("rerank", "classify"):
        if _makes_vectors(folder):
            raise BadCheckpoint(
                f'{folder / MODULES_FILE} makes vectors of texts and judges none; choose "task": "embedding"'
            )
        if names and not judging:
            raise BadCheckpoint(f"{path}: architectures says {names[0]}, which judges no texts; {_other_task(names)}")
        head = read_head(folder)
        if task == "rerank" and len(head.labels) != 1:
            raise BadCheckpoint(
                f'{path}: the head has {len(head.labels)} labels, and a reranker has one; choose "task": "classify"'
            )
    elif judging and not _makes_vectors(folder):
        fitting = "rerank" if len(_labels(path, config)) == 1 else "classify"
        made = "embeddings" if task == "embedding" else "text"
        raise BadCheckpoint(
            f"{path}: architectures says {judging[0]}, a head that judges texts and makes no {made};"
            f' choose "task": "{fitting}"'
        )


def task_of(folder: Path) -> TaskKind:
    """What the checkpoint's files say that it is for. Raises BadCheckpoint where they say nothing of it."""
    path = folder / CONFIG_FILE
    config = read_json_object(path)
    if _makes_vectors(folder):
        return "embedding"
    listed = config.get("architectures")
    names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    if any(name.endswith(_JUDGING) for name in names):
        return "rerank" if len(_labels(path, config)) == 1 else "classify"
    if any(name.endswith((*_WRITING, "ForConditionalGeneration")) for name in names):
        return "generation"
    if not names:
        raise BadCheckpoint(
            f"{path} names no architectures, so that what the model is for can't be told; say it with --task"
        )
    return "embedding"


def read_head(folder: Path) -> Head:
    """The head of the checkpoint in `folder`. Raises BadCheckpoint for one that asks for what is not done here."""
    path = folder / CONFIG_FILE
    config = read_json_object(path)
    labels = _labels(path, config)
    problem = _problem(path, config, labels)
    settings = _read_object(folder / _SETTINGS)
    # By its rule: of a folder that it did not save as a cross-encoder it reads none of its own files, whatever there is.
    if settings.get("model_type") != "CrossEncoder" or not (folder / MODULES_FILE).is_file():
        return Head(labels, problem, _activation(folder, config, {}))
    _check_sentence_settings(folder, settings)
    return Head(labels, problem, _activation(folder, config, settings), _read_length(folder))


def _other_task(names: list[str]) -> str:
    if any(name.endswith(_WRITING) for name in names):
        return (
            'choose "task": "generation", or, for a reranker that answers yes or no, a checkpoint of it that was converted'
            " to sequence classification"
        )
    return 'choose "task": "embedding", or a checkpoint with a head for sequence classification'


def _makes_vectors(folder: Path) -> bool:
    """Whether sentence-transformers makes an embedder of it, whatever head its weights had once."""
    return any(name == "Pooling" for name in _modules(folder))


# ── config.json ──────────────────────────────────────────────────────────────────────────────────


def _labels(path: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    named, count = config.get("id2label"), config.get("num_labels")
    if named is None:
        known = count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else _USUAL_LABELS
        return tuple(f"LABEL_{number}" for number in range(known))
    try:
        by_number = converted(named, dict[int, str], strict=False)
        return tuple(by_number[number] for number in range(len(by_number)))
    except (Undecodable, KeyError):
        raise BadCheckpoint(f"{path}: id2label does not number its labels from 0 on; fetch it again") from None


def _problem(path: Path, config: Mapping[str, Any], labels: tuple[str, ...]) -> Problem:
    asked = config.get("problem_type")
    if asked is None:
        # as transformers' own pipeline takes it
        return "single_label_classification" if len(labels) > 1 else "multi_label_classification"
    if asked not in get_args(Problem):
        problems = ", ".join(get_args(Problem))
        raise BadCheckpoint(
            f"{path}: problem_type is {quoted(asked)}, and known are {problems}; choose another checkpoint"
        )
    known: Problem = converted(asked, Problem)
    return known


# ── what sentence-transformers writes beside it ──────────────────────────────────────────────────


def _activation(folder: Path, config: Mapping[str, Any], settings: Mapping[str, Any]) -> ScoreActivation:
    """What makes the score of a single figure, looked for where CrossEncoder does, in its order."""
    nested = config.get("sentence_transformers")
    places = (
        (folder / _SETTINGS, "activation_fn", settings),
        (folder / CONFIG_FILE, "sentence_transformers.activation_fn", nested if isinstance(nested, dict) else {}),
        (folder / CONFIG_FILE, "sbert_ce_default_activation_function", config),
    )
    for path, key, values in places:
        asked = values.get(key.rpartition(".")[2])
        if asked is None:
            continue
        name = str(asked).rpartition(".")[2]
        if not str(asked).startswith("torch.nn.") or name not in get_args(ScoreActivation):
            functions = ", ".join(get_args(ScoreActivation))
            raise BadCheckpoint(
                f"{path}: {key} is {asked}, and known are torch.nn's {functions}; choose another checkpoint"
            )
        known: ScoreActivation = converted(name, ScoreActivation)
        return known
    return "Sigmoid"


def _check_sentence_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    path = folder / _SETTINGS
    prompts, default = settings.get("prompts"), settings.get("default_prompt_name")
    if default is not None and (not isinstance(prompts, dict) or prompts.get(default)):
        raise BadCheckpoint(
            f"{path}: default_prompt_name is {quoted(default)}, and prompts of rerankers are not supported"
        )
    if settings.get("keep_in_fp32_modules"):
        raise BadCheckpoint(f'{path}: keep_in_fp32_modules is not supported; remove it and choose "dtype": "float32"')


def _read_length(folder: Path) -> int | None:
    for name in _modules(folder):
        if name != "Transformer":
            raise BadCheckpoint(
                f"{folder / MODULES_FILE} asks for {name} behind the model, which is not supported for this task; choose another"
                " checkpoint"
            )
    path = folder / _LENGTH
    settings = _read_object(path)
    if settings.get("do_lower_case"):
        raise BadCheckpoint(f"{path}: do_lower_case is not supported for this task; put it into tokenizer_config.json")
    for key in _UNREAD:
        if settings.get(key):
            raise BadCheckpoint(f"{path}: {key} is not supported for this task; put it into tokenizer_config.json")
    if (kind := settings.get("transformer_task")) not in (None, "sequence-classification"):
        raise BadCheckpoint(
            f"{path}: transformer_task is {quoted(kind)}, which judges no texts; choose another checkpoint"
        )
    length = settings.get("max_seq_length")
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
        raise BadCheckpoint(f"{path}: max_seq_length is {quoted(length)}, not a number above 0")
    return length


class _Module(Struct, frozen=True):
    type: str
    """As Python imports it: `sentence_transformers.models.Pooling`."""


def _modules(folder: Path) -> tuple[str, ...]:
    path = folder / MODULES_FILE
    if not path.is_file():
        return ()
    try:
        listed = from_json(read_whole(path, MOST_JSON_BYTES), tuple[_Module, ...])
    except (OSError, Undecodable) as error:
        raise BadCheckpoint(f"{path} can't be read: {error}; fetch it again") from error
    return tuple(module.type.rpartition(".")[2] for module in listed)


def _read_object(path: Path) -> dict[str, Any]:
    return read_json_object(path) if path.is_file() else {}
