"""What a checkpoint's sentence-transformers files ask for: the modules behind the model, prompts, the longest text, lower case.
Read without torch, so that what can't be done is told by its name before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from msgspec import Struct

from engine.core.serialization import Undecodable, converted, from_json
from engine.core.texts import quoted
from engine.weights.checkpoint_json import MOST_JSON_BYTES, lies_within
from engine.weights.errors import BadCheckpoint
from engine.whole_file import read_whole

MODULES_FILE: Final = "modules.json"
PROMPTS_FILE: Final = "config_sentence_transformers.json"
MODEL_FILE: Final = "sentence_bert_config.json"
POOLING_FILE: Final = "1_Pooling/config.json"
MODULE_WEIGHTS: Final = "model.safetensors"

PoolingMode: TypeAlias = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
Activation: TypeAlias = Literal[
    "Tanh", "Identity", "ReLU", "GELU", "SiLU", "Sigmoid", "LeakyReLU", "ELU", "SELU", "Mish"
]
"""Those of torch.nn that have no values of their own."""

_FLAGS: Final[dict[str, PoolingMode]] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The older spelling, in the order in which several are put together."""
_LIBRARY: Final = "sentence_transformers."
_WITHOUT_EFFECT: Final = frozenset({"Dropout"})
"""Modules that do something in training only."""
_MODEL_FILES: Final = (
    MODEL_FILE,
    *(
        f"sentence_{kind}_config.json"
        for kind in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    ),
)
_LOADING_ONLY: Final = frozenset(
    {"torch_dtype", "dtype", "attn_implementation", "device_map", "low_cpu_mem_usage", "trust_remote_code", "use_cache"}
)
"""Settings of the model that change how it is loaded, and not what it answers."""


class Pooling(Struct, frozen=True):
    """One vector of a text's many: those of several modes, one behind the other."""

    modes: tuple[PoolingMode, ...] = ("mean",)
    include_prompt: bool = True
    """Whether the prompt's tokens count."""


class Dense(Struct, frozen=True):
    """A linear layer, its weights in a folder of its own."""

    folder: str
    in_features: int
    out_features: int
    bias: bool = True
    activation: Activation = "Tanh"
    use_residual: bool = False


class LayerNorm(Struct, frozen=True):
    """As torch's, its weights in a folder of its own."""

    folder: str
    dimension: int


class Normalize(Struct, frozen=True):
    """To unit length."""


SentenceModule: TypeAlias = Pooling | Dense | LayerNorm | Normalize


class SentenceFormat(Struct, frozen=True):
    """How a checkpoint's vectors are made."""

    modules: tuple[SentenceModule, ...] = (Pooling(),)
    """What comes behind the model, in order; the first is the pooling."""
    prompts: dict[str, str] = {}
    default_prompt: str | None = None
    """The name of the prompt of a text for which none is asked."""
    similarity: str = "cosine"
    """How its vectors are meant to be compared."""
    max_tokens: int | None = None
    """Of a text, as its files for sentence-transformers say."""
    lower_case: bool = False

    @property
    def normalizes(self) -> bool:
        """Whether its vectors have unit length."""
        return isinstance(self.modules[-1], Normalize)

    def dimensions(self, hidden: int) -> int:
        """Of a vector, for a model whose hidden states have so many. Raises BadCheckpoint where a module takes another number
        than the one before it gives."""
        for module in self.modules:
            match module:
                case Pooling(modes=modes):
                    hidden *= len(modes)
                case Dense(folder, wide, narrow):
                    _check_width(folder, wide, hidden)
                    hidden = narrow
                case LayerNorm(folder, wide):
                    _check_width(folder, wide, hidden)
                case Normalize():
                    pass
        return hidden


def _check_width(folder: str, wide: int, hidden: int) -> None:
    if wide != hidden:
        raise BadCheckpoint(f"{folder}/config.json takes {wide} figures, and what comes before gives {hidden}; mend it")


def read_sentence_format(folder: Path) -> SentenceFormat:
    """What the files in `folder` ask for; without them the mean, as it is. Raises BadCheckpoint for what can't be done."""
    prompts = _object(folder / PROMPTS_FILE)
    model = _read_model_settings(folder)
    return SentenceFormat(
        _read_modules(folder),
        *_read_prompts(folder / PROMPTS_FILE, prompts),
        similarity=_text(folder / PROMPTS_FILE, prompts, "similarity_fn_name") or "cosine",
        max_tokens=_count(folder / MODEL_FILE, model, "max_seq_length"),
        lower_case=bool(model.get("do_lower_case")),
    )


# ── the modules behind the model ─────────────────────────────────────────────────────────────────


class _Listed(Struct, frozen=True):
    """A line of modules.json."""

    type: str
    """As Python imports it: `sentence_transformers.models.Pooling`."""
    path: str = ""

    @property
    def kind(self) -> str:
        return self.type.rpartition(".")[2]


def _read_modules(folder: Path) -> tuple[SentenceModule, ...]:
    path = folder / MODULES_FILE
    if not path.is_file():
        return (_read_pooling(folder / POOLING_FILE) if (folder / POOLING_FILE).is_file() else Pooling(),)
    listed = _list_modules(folder)
    if not listed or listed[0].kind != "Transformer" or not listed[0].type.startswith(_LIBRARY):
        first = listed[0].type if listed else "nothing"
        raise BadCheckpoint(
            f"{path} asks for {first} as the model, and only a Transformer can be run; choose another checkpoint"
        )
    if listed[0].path:
        raise BadCheckpoint(f"{path} has its model in {listed[0].path}; save it with a newer sentence-transformers")
    modules = [_read_module(folder, path, line) for line in listed[1:] if line.kind not in _WITHOUT_EFFECT]
    if not modules or not isinstance(modules[0], Pooling):
        raise BadCheckpoint(f"{path} has no Pooling right behind the model, so that it makes no vector of a text")
    if any(isinstance(module, Pooling) for module in modules[1:]):
        raise BadCheckpoint(f"{path} asks for several Poolings one after the other, which can't be run")
    return tuple(modules)


def _list_modules(folder: Path) -> tuple[_Listed, ...]:
    path = folder / MODULES_FILE
    if not path.is_file():
        return ()
    try:
        listed = converted(_decoded(path), tuple[_Listed, ...])
    except Undecodable as error:
        raise BadCheckpoint(f"{path} can't be read: {error}") from error
    for line in listed:
        if not lies_within(line.path):
            raise BadCheckpoint(f"{path} names the folder {quoted(line.path)}, which is outside the checkpoint")
    return listed


def _read_module(folder: Path, listed_in: Path, line: _Listed) -> SentenceModule:
    path = folder / line.path / "config.json"
    match line.kind if line.type.startswith(_LIBRARY) else "":
        case "Pooling":
            return _read_pooling(path)
        case "Dense":
            _check_weights(folder / line.path)
            return _read_dense(path, line.path)
        case "LayerNorm":
            _check_weights(folder / line.path)
            return LayerNorm(line.path, _needed_count(path, "dimension"))
        case "Normalize":
            _check_input(path, _object(path))
            return Normalize()
        case _:
            raise BadCheckpoint(
                f"{listed_in} asks for {line.type} behind the model, which is not supported; choose another checkpoint"
            )


def _read_pooling(path: Path) -> Pooling:
    config = _object(path)
    if not path.is_file():
        raise BadCheckpoint(f"{path} is missing, which says how one vector is made of a text's; fetch it again")
    asked = config.get("pooling_mode")
    if asked is None:
        unknown = [key for key, on in config.items() if key.startswith("pooling_mode_") and on and key not in _FLAGS]
        if unknown:
            raise BadCheckpoint(
                f"{path}: {unknown[0]} is a way of pooling that is not known; choose another checkpoint"
            )
        modes: list[Any] = [mode for key, mode in _FLAGS.items() if config.get(key)] or ["mean"]
    else:
        modes = asked if isinstance(asked, list) else [asked]
    if not modes or any(mode not in get_args(PoolingMode) for mode in modes):
        known = ", ".join(get_args(PoolingMode))
        raise BadCheckpoint(
            f"{path}: pooling_mode is {quoted(asked)}, and known are {known}; choose another checkpoint"
        )
    return Pooling(tuple(modes), bool(config.get("include_prompt", True)))


def _read_dense(path: Path, folder: str) -> Dense:
    config = _object(path)
    _check_input(path, config)
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    name = activation.rpartition(".")[2]
    if not activation.startswith("torch.nn.") or name not in get_args(Activation):
        raise BadCheckpoint(
            f"{path}: activation_function is {activation}, and known are torch.nn's {', '.join(get_args(Activation))};"
            " choose another checkpoint"
        )
    return Dense(
        folder,
        _needed_count(path, "in_features"),
        _needed_count(path, "out_features"),
        bool(config.get("bias", True)),
        converted(name, Activation),
        bool(config.get("use_residual", False)),
    )


def _check_weights(folder: Path) -> None:
    if not (folder / MODULE_WEIGHTS).is_file():
        raise BadCheckpoint(
            f"{folder} has no {MODULE_WEIGHTS}, and other formats are not read; fetch it, or convert them"
        )


def _check_input(path: Path, config: Mapping[str, Any]) -> None:
    """Modules may work on the vectors of tokens, too, which are gone behind the pooling."""
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            raise BadCheckpoint(f"{path}: {key} is {quoted(config[key])}, and only sentence_embedding can be worked on")


# ── prompts and settings of the model ────────────────────────────────────────────────────────────


def _read_prompts(path: Path, config: Mapping[str, Any]) -> tuple[dict[str, str], str | None]:
    try:
        prompts = converted(config.get("prompts") or {}, dict[str, str | None])
    except Undecodable as error:
        raise BadCheckpoint(f"{path}: prompts can't be read: {error}") from error
    default = _text(path, config, "default_prompt_name")
    if default is not None and default not in prompts:
        names = ", ".join(prompts) or "there are none"
        raise BadCheckpoint(
            f"{path}: default_prompt_name is {quoted(default)}, which is none of its prompts ({names}); mend it"
        )
    return {name: text or "" for name, text in prompts.items()}, default


def _read_model_settings(folder: Path) -> Mapping[str, Any]:
    path = next((folder / name for name in _MODEL_FILES if (folder / name).is_file()), folder / MODEL_FILE)
    config = _object(path)
    if config.get("transformer_task") not in (None, "feature-extraction"):
        raise BadCheckpoint(f"{path}: transformer_task is {quoted(config['transformer_task'])}, which makes no vectors")
    if config.get("module_output_name") not in (None, "token_embeddings"):
        raise BadCheckpoint(
            f"{path}: module_output_name is {quoted(config['module_output_name'])}, not token_embeddings"
        )
    _check_modalities(path, config.get("modality_config"))
    for key in ("model_args", "model_kwargs", "config_args", "config_kwargs"):
        changing = sorted(set(config.get(key) or ()) - _LOADING_ONLY)
        if changing:
            raise BadCheckpoint(
                f"{path}: {key} sets {', '.join(changing)}, which is not supported; put it into config.json"
            )
    for key in ("tokenizer_args", "processor_kwargs", "tokenizer_name_or_path", "processing_kwargs", "query_expansion"):
        if config.get(key):
            raise BadCheckpoint(f"{path}: {key} is not supported; put it into tokenizer_config.json")
    return config


def _check_modalities(path: Path, modalities: object) -> None:
    """Which call of the model takes texts, and which of its outputs counts."""
    if modalities is None:
        return
    text = modalities.get("text") if isinstance(modalities, dict) else None
    usual = {"method": "forward", "method_output_name": "last_hidden_state"}
    if not isinstance(text, dict) or any(text.get(key) not in (None, value) for key, value in usual.items()):
        raise BadCheckpoint(f"{path}: modality_config has {quoted(text)} for text, and only {usual} can be done")


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def _object(path: Path) -> Mapping[str, Any]:
    """What the file says; nothing where it is not there."""
    if not path.is_file():
        return {}
    found = _decoded(path)
    if not isinstance(found, dict):
        raise BadCheckpoint(f"{path} can't be read: it holds no JSON object")
    return found


def _decoded(path: Path) -> Any:  # noqa: ANN401 - whatever a file of somebody else holds
    try:
        return from_json(read_whole(path, MOST_JSON_BYTES))
    except (OSError, Undecodable) as error:
        raise BadCheckpoint(f"{path} can't be read: {error}") from error


def _text(path: Path, config: Mapping[str, Any], key: str) -> str | None:
    value = config.get(key)
    if value is None or isinstance(value, str):
        return value
    raise BadCheckpoint(f"{path}: {key} is {quoted(value)}, not a text")


def _count(path: Path, config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise BadCheckpoint(f"{path}: {key} is {quoted(value)}, not a number above 0")


def _needed_count(path: Path, key: str) -> int:
    found = _count(path, _object(path), key)
    if found is None:
        raise BadCheckpoint(f"{path} does not say its {key}; fetch it again")
    return found
