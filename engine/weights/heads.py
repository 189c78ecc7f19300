"""What a checkpoint says of the head that it ends in: whether that judges texts, its labels, and what turns its figures into
scores. Read without torch, so that a head that does not fit its task is told before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

import msgspec
from msgspec import Struct

from engine.core.tasks import TaskKind
from engine.weights.errors import BadCheckpoint

_JUDGING: Final = "ForSequenceClassification"
_WRITING: Final = ("ForCausalLM", "LMHeadModel")
_CONFIG: Final = "config.json"
_MODULES: Final = "modules.json"
_SETTINGS: Final = "config_sentence_transformers.json"
_LENGTH: Final = "sentence_bert_config.json"
_USUAL_LABELS: Final = 2
"""Of a configuration that names none, by transformers' rule."""

ScoreActivation: TypeAlias = Literal[
    "Sigmoid", "Identity", "Tanh", "ReLU", "Softplus", "LogSigmoid", "Hardsigmoid", "Softsign", "SiLU", "GELU"
]
"""Functions of torch.nn that make one figure of one."""
Problem: TypeAlias = Literal["regression", "single_label_classification", "multi_label_classification"]
"""What kind of answer a classifier was trained for, as transformers words it."""

_T = TypeVar("_T")


class Head(Struct, frozen=True):
    """What a head that judges texts makes of them."""

    labels: tuple[str, ...]
    problem: Problem
    activation: ScoreActivation = "Sigmoid"
    """Of a reranker's only figure."""
    most_tokens: int | None = None
    """The longest input, as its files for sentence-transformers say; None where they don't."""


def check_head(folder: Path, task: TaskKind) -> None:
    """Raises BadCheckpoint when the checkpoint's head is not one for the task, or asks for what is not done here."""
    path = folder / _CONFIG
    config = _read(path, dict[str, Any])
    names = [name for name in _list(config.get("architectures")) if isinstance(name, str)]
    judging = [name for name in names if name.endswith(_JUDGING)]
    if task in ("rerank", "classify"):
        if _makes_vectors(folder):
            raise BadCheckpoint(
                f'{folder / _MODULES} makes vectors of texts and judges none; choose "task": "embedding"'
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
        made = "vectors" if task == "embedding" else "text"
        raise BadCheckpoint(
            f"{path}: architectures says {judging[0]}, a head that judges texts and makes no {made};"
            f' choose "task": "{fitting}"'
        )


def read_head(folder: Path) -> Head:
    """The head of the checkpoint in `folder`. Raises BadCheckpoint for one that asks for what is not done here."""
    path = folder / _CONFIG
    config = _read(path, dict[str, Any])
    labels = _labels(path, config)
    problem = _problem(path, config, labels)
    settings = _read(folder / _SETTINGS, dict[str, Any], {})
    # By its rule: of a folder that it did not save as a cross-encoder it reads none of its own files, whatever there is.
    if settings.get("model_type") != "CrossEncoder" or not (folder / _MODULES).is_file():
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
        by_number = msgspec.convert(named, dict[int, str], strict=False)
        return tuple(by_number[number] for number in range(len(by_number)))
    except (msgspec.ValidationError, KeyError):
        raise BadCheckpoint(f"{path}: id2label does not number its labels from 0 on; fetch it again") from None


def _problem(path: Path, config: Mapping[str, Any], labels: tuple[str, ...]) -> Problem:
    asked = config.get("problem_type")
    if asked is None:
        # as transformers' own pipeline takes it
        return "single_label_classification" if len(labels) > 1 else "multi_label_classification"
    if asked not in get_args(Problem):
        problems = ", ".join(get_args(Problem))
        raise BadCheckpoint(f"{path}: problem_type is {asked!r}, and known are {problems}; choose another checkpoint")
    known: Problem = msgspec.convert(asked, Problem)
    return known


# ── what sentence-transformers writes beside it ──────────────────────────────────────────────────


def _activation(folder: Path, config: Mapping[str, Any], settings: Mapping[str, Any]) -> ScoreActivation:
    """What makes the score of a single figure, looked for where CrossEncoder does, in its order."""
    nested = config.get("sentence_transformers")
    places = (
        (folder / _SETTINGS, "activation_fn", settings),
        (folder / _CONFIG, "sentence_transformers.activation_fn", nested if isinstance(nested, dict) else {}),
        (folder / _CONFIG, "sbert_ce_default_activation_function", config),
    )
    for path, key, values in places:
        asked = values.get(key.rpartition(".")[2])
        if asked is None:
            continue
        name = str(asked).rpartition(".")[2]
        if not str(asked).startswith("torch.nn.") or name not in get_args(ScoreActivation):
            known = ", ".join(get_args(ScoreActivation))
            raise BadCheckpoint(
                f"{path}: {key} is {asked}, and known are torch.nn's {known}; choose another checkpoint"
            )
        return msgspec.convert(name, ScoreActivation)
    return "Sigmoid"


def _check_sentence_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    path = folder / _SETTINGS
    prompts, default = settings.get("prompts"), settings.get("default_prompt_name")
    if default is not None and (not isinstance(prompts, dict) or prompts.get(default)):
        raise BadCheckpoint(f"{path}: default_prompt_name is {default!r}, and prompts of rerankers are not supported")
    if settings.get("keep_in_fp32_modules"):
        raise BadCheckpoint(f'{path}: keep_in_fp32_modules is not supported; remove it and choose "dtype": "float32"')


def _read_length(folder: Path) -> int | None:
    for name in _modules(folder):
        if name != "Transformer":
            raise BadCheckpoint(
                f"{folder / _MODULES} asks for {name} behind the model, which is not supported for this task; choose another"
                " checkpoint"
            )
    path = folder / _LENGTH
    settings = _read(path, dict[str, Any], {})
    if settings.get("do_lower_case"):
        raise BadCheckpoint(f"{path}: do_lower_case is not supported for this task; put it into tokenizer_config.json")
    if (kind := settings.get("transformer_task")) not in (None, "sequence-classification"):
        raise BadCheckpoint(f"{path}: transformer_task is {kind!r}, which judges no texts; choose another checkpoint")
    length = settings.get("max_seq_length")
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
        raise BadCheckpoint(f"{path}: max_seq_length is {length!r}, not a number above 0")
    return length


class _Module(Struct, frozen=True):
    type: str
    """As Python imports it: `sentence_transformers.models.Pooling`."""


def _modules(folder: Path) -> tuple[str, ...]:
    listed = _read(folder / _MODULES, tuple[_Module, ...], ())
    return tuple(module.type.rpartition(".")[2] for module in listed)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _read(path: Path, kind: type[_T], otherwise: _T | None = None) -> _T:
    if otherwise is not None and not path.is_file():
        return otherwise
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BadCheckpoint(f"{path} can't be read: {error}") from error
