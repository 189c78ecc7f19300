"""What can be told of a checkpoint before a byte of its weights is read: whether it is one, and whether what it asks for is
done here. What is not done is refused, never left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from engine.core.models import ModelSpec
from engine.core.texts import quoted
from engine.weights.architecture import read_architecture
from engine.weights.checkpoint_json import CONFIG_FILE, check_json, read_json_object
from engine.weights.errors import BadCheckpoint, SourceMissing
from engine.weights.formats import UNQUANTISED
from engine.weights.header import checkpoint_files, read_header
from engine.weights.heads import check_head
from engine.weights.known_types import class_tables, known_classes
from engine.weights.sentence_files import read_sentence_format
from engine.weights.source_files import companions
from engine.weights.writing_settings import check_writing_settings

Config = Mapping[str, Any]

ADAPTER_FILE: Final = "adapter_config.json"
_QUANTISERS: Final = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
"""Where older tools keep what newer ones write in config.json."""
_CODE_TABLES: Final = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification")
_TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "embedding": ("MODEL", "MODEL_FOR_TEXT_ENCODING"),
    "generation": ("MODEL_FOR_CAUSAL_LM", "MODEL_FOR_IMAGE_TEXT_TO_TEXT"),
    "rerank": ("MODEL_FOR_SEQUENCE_CLASSIFICATION",),
    "classify": ("MODEL_FOR_SEQUENCE_CLASSIFICATION",),
}
_NO_TEXT: Final = (
    "MODEL_FOR_SPEECH_SEQ_2_SEQ",
    "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION",
    "MODEL_FOR_AUDIO_CLASSIFICATION",
    "MODEL_FOR_CTC",
)
"""Tables of types that hear or see."""
_QUANTISED: Final = re.compile(r"\.(qweight|qzeros|absmax|quant_map|weight_packed|weight_scale(_inv)?|SCB)$")
"""What tools that quantise call the parts that they make of a weight."""
_WHOLE_NUMBERS: Final = frozenset({"U8", "I8", "I16", "I32", "I64"})
_UNMERGED: Final = re.compile(r"\.(lora_[AB]|lora_embedding_[AB]|base_layer)\.")
_NOT_MERGED: Final = (
    "an adapter, which is not applied to its model here; merge it into its base with peft's `merge_and_unload`, and save"
    " the whole"
)
_JUDGING: Final = ("ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice")
"""Heads that judge texts in ways that are not done here."""
_WITHOUT_VOCABULARY: Final = frozenset({"ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer"})
"""Tokenizers that spell out bytes or characters."""
_SETTINGS: Final = frozenset(
    {
        *("config.json", "generation_config.json"),
        *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json"),
        *("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"),
    }
)
_READ: Final = _SETTINGS | {"tokenizer.json", "vocab.json"}
"""JSON files that decide what a model answers."""
_NO_VOCABULARY: Final = _SETTINGS | {
    *("chat_template.jinja", "preprocessor_config.json", "processor_config.json", "trainer_state.json", "SYNTHETIC"),
}
"""Companions that no tokenizer reads its words from."""


def check_checkpoint(folder: Path, spec: ModelSpec) -> None:
    """Raises SourceMissing when the folder holds no checkpoint, BadCheckpoint when the model can't be made of it as it
    asks."""
    if not (folder / CONFIG_FILE).is_file():
        raise SourceMissing(_no_config(folder))
    config = read_json_object(folder / CONFIG_FILE)
    for check in _CHECKS:
        check(folder, config, spec)


def _no_config(folder: Path) -> str:
    if (folder / ADAPTER_FILE).is_file():
        return _adapter(folder)
    if below := next(iter(sorted(folder.glob(f"*/{CONFIG_FILE}"))), None):
        return f"{folder} has no {CONFIG_FILE}, so it is not a checkpoint; there is one in {below.parent.name}, name that folder"
    return f"{folder} has no {CONFIG_FILE}, so it is not a checkpoint"


def _adapter(folder: Path) -> str:
    return f"{folder / ADAPTER_FILE} belongs to {_NOT_MERGED}"


def _check_adapter(folder: Path, _config: Config, _spec: ModelSpec) -> None:
    if (folder / ADAPTER_FILE).is_file():
        raise BadCheckpoint(_adapter(folder))


def _check_json_files(folder: Path, _config: Config, _spec: ModelSpec) -> None:
    for path in companions(folder):
        if path.suffix == ".json" and (path.name in _READ or path.parent != folder):
            check_json(path)


def _check_quantisation(folder: Path, config: Config, _spec: ModelSpec) -> None:
    for where, part in _nested(config):
        if isinstance(found := part.get("quantization_config"), dict):
            method = found.get("quant_method") or found.get("quant_type") or "a method of its own"
            raise BadCheckpoint(
                f"{folder / CONFIG_FILE}: {where}quantization_config says {method}, and weights that are"
                f" quantised already are not read; {UNQUANTISED}"
            )
    for name in _QUANTISERS:
        if (folder / name).is_file():
            raise BadCheckpoint(
                f"{folder / name} says that the weights are quantised already, and such are not read; {UNQUANTISED}"
            )


def _check_code(folder: Path, config: Config, _spec: ModelSpec) -> None:
    """Code that comes with a checkpoint is never run. Where it only has the names of transformers' own classes, those run."""
    listed = config.get("auto_map")
    if not isinstance(listed, dict):
        return
    known = known_classes(str(config.get("model_type")))
    for table, reference in listed.items():
        name = str(reference).rpartition(".")[2]
        if table in _CODE_TABLES and name not in known:
            raise BadCheckpoint(
                f"{folder / CONFIG_FILE}: auto_map asks for the class {name} of code that comes with it, which is never run;"
                " choose a checkpoint that transformers reads without such code"
            )


def _check_type(folder: Path, config: Config, _spec: ModelSpec) -> None:
    model_type, known = config.get("model_type"), class_tables().get("CONFIG", {})
    if not isinstance(model_type, str) or not model_type:
        raise BadCheckpoint(
            f"{folder / CONFIG_FILE} does not say its model_type; add it, or take a checkpoint of transformers"
        )
    if known and model_type not in known:
        raise BadCheckpoint(
            f"{folder / CONFIG_FILE}: model_type {quoted(model_type)} is not known to the transformers installed"
            " here; a newer one may know it"
        )


def _check_head(folder: Path, config: Config, spec: ModelSpec) -> None:
    check_head(folder, config, spec.task)


def _check_class(folder: Path, config: Config, spec: ModelSpec) -> None:
    """Whether the type has a class that does the task, and the checkpoint the head for it."""
    model_type, tables, at = str(config.get("model_type")), class_tables(), folder / CONFIG_FILE
    if not tables:
        return
    heads = [name for name in _strings(config.get("architectures")) if name.endswith(_JUDGING)]
    if spec.task in ("embedding", "generation") and heads and not (folder / "modules.json").is_file():
        made = "embeddings" if spec.task == "embedding" else "text"
        raise BadCheckpoint(
            f"{at}: architectures says {heads[0]}, a head that judges texts; it makes no {made}."
            " Choose another checkpoint for this task"
        )
    if spec.task == "generation" and _writes_what_it_read(config, model_type):
        raise BadCheckpoint(
            f"{at}: model_type {model_type} has an encoder and a decoder, which is not run for generation; choose a decoder alone"
        )
    blind = [name for name in _NO_TEXT if model_type in tables.get(name, {})]
    if blind or not any(model_type in tables.get(name, {}) for name in _TABLES[spec.task]):
        raise BadCheckpoint(
            f"{at}: model_type {model_type} can't do the task {spec.task} with texts; choose another checkpoint"
        )


def _writes_what_it_read(config: Config, model_type: str) -> bool:
    table = class_tables().get("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM", {})
    heads = _strings(config.get("architectures"))
    return config.get("is_encoder_decoder") is True or any(name in table.get(model_type, ()) for name in heads)


def _check_vocabulary(folder: Path, _config: Config, _spec: ModelSpec) -> None:
    files = [path for path in companions(folder) if path.parent == folder]
    if any(path.name not in _NO_VOCABULARY for path in files):
        return
    settings = folder / "tokenizer_config.json"
    kind = read_json_object(settings).get("tokenizer_class") if settings.is_file() else None
    if kind not in _WITHOUT_VOCABULARY:
        raise BadCheckpoint(
            f"{folder} has no tokenizer.json and no other vocabulary, so that texts can't be read; fetch it again,"
            " with its tokenizer"
        )


def _check_sentence_files(folder: Path, _config: Config, spec: ModelSpec) -> None:
    if spec.task == "embedding":
        read_sentence_format(folder)


def _check_sizes(folder: Path, _config: Config, _spec: ModelSpec) -> None:
    read_architecture(folder)


def _check_weights(folder: Path, _config: Config, spec: ModelSpec) -> None:
    paths = checkpoint_files(folder)
    for path in paths:
        for name, tensor in read_header(path).tensors.items():
            if _QUANTISED.search(name) or (name.endswith(".weight") and tensor.dtype in _WHOLE_NUMBERS):
                raise BadCheckpoint(
                    f"{path}: {name} is quantised already, and such weights are not read; {UNQUANTISED}"
                )
            if _UNMERGED.search(name):
                raise BadCheckpoint(f"{path}: {name} belongs to {_NOT_MERGED}")
    if spec.sha256 and len(paths) > 1:
        raise BadCheckpoint(
            f"{folder} has its weights in several files, and the catalog's sha256 is of one; leave sha256 out for it"
        )


def _nested(config: Config, where: str = "") -> Iterator[tuple[str, Config]]:
    yield where, config
    for name, part in config.items():
        if isinstance(part, dict) and name.endswith("_config") and name != "quantization_config":
            yield from _nested(part, f"{where}{name}.")


def _strings(values: object) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _check_writing(folder: Path, _config: Config, spec: ModelSpec) -> None:
    if spec.task == "generation":
        check_writing_settings(folder)


_CHECKS: Final[tuple[Callable[[Path, Config, ModelSpec], None], ...]] = (
    _check_adapter,
    _check_quantisation,
    _check_code,
    _check_type,
    _check_head,
    _check_class,
    _check_sizes,
    _check_weights,
    _check_json_files,
    _check_vocabulary,
    _check_sentence_files,
    _check_writing,
)
"""In the order in which a person would want to hear of them."""
