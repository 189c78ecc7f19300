"""Tiny checkpoints as sentence-transformers writes them, to be held against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedModel, PreTrainedTokenizerFast

from engine.core.models import Dtype, Limits
from engine.core.tasks import Embed
from engine.weights.sentence_files import read_sentence_format
from engine.worker.convert import load_in
from engine.worker.embedding import Embedder
from engine.worker.sentence_modules import ModulesBehind
from engine.worker.tokenizer import load_tokenizer
from tests.worker.lanes import Embedded, embed

WORDS: Final = (
    "a",
    "cat",
    "kitten",
    "sat",
    "on",
    "the",
    "mat",
    "stock",
    "market",
    "query",
    "passage",
    ":",
    "Cat",
    "The",
)
HIDDEN: Final = 32
POSITIONS: Final = 64
_SIZES: Final = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": POSITIONS,
    "vocab_size": 32,
}
_LIMITS: Final = Limits(max_sequence=POSITIONS)
_KINDS: Final = "sentence_transformers.models."


def write_model(
    folder: Path,
    modules: Sequence[str] = ("Pooling", "Normalize"),
    pooling: Mapping[str, Any] | None = None,
    *,
    family: str = "bert",
    side: str = "right",
    sentence: Mapping[str, Any] | None = None,
    prompts: Mapping[str, Any] | None = None,
    dense: Mapping[str, Any] | None = None,
) -> Path:
    """A random model of the family with these modules behind it, each in a folder of its number and name."""
    torch.manual_seed(7)
    extra = {"pad_token_id": 0} if family != "mpnet" else {}
    if family in ("llama", "qwen2"):
        extra |= {"num_key_value_heads": 2}
    module: PreTrainedModel = AutoModel.from_config(AutoConfig.for_model(family, **_SIZES, **extra))  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.3)
    module.save_pretrained(folder)
    _tokenizer(side).save_pretrained(folder)
    listed = [("Transformer", ""), *((kind, f"{number}_{kind}") for number, kind in enumerate(modules, 1))]
    list_modules(folder, [(_KINDS + kind, path) for kind, path in listed])
    for kind, path in listed[1:]:
        _write_module(folder / path, kind, pooling, dense or {})
    _write(
        folder / "sentence_bert_config.json", {"max_seq_length": POSITIONS, "do_lower_case": False, **(sentence or {})}
    )
    _write(folder / "config_sentence_transformers.json", prompts or {})
    return folder


def list_modules(folder: Path, listed: Sequence[tuple[str, str]]) -> None:
    """Write modules.json: the type and the folder of each."""
    lines = [{"idx": n, "name": str(n), "path": path, "type": kind} for n, (kind, path) in enumerate(listed)]
    _write(folder / "modules.json", lines)


def _tokenizer(side: str) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        padding_side=side,
        model_max_length=POSITIONS,
    )


def _write_module(folder: Path, kind: str, pooling: Mapping[str, Any] | None, dense: Mapping[str, Any]) -> None:
    match kind:
        case "Pooling":
            _write(folder / "config.json", {"word_embedding_dimension": HIDDEN, **(pooling or {})})
        case "Dense":
            config = {"in_features": HIDDEN, "out_features": 16, "bias": True, **dense}
            activation = "torch.nn.modules.activation.Tanh"
            _write(folder / "config.json", {"activation_function": activation, **config})
            shape = config["out_features"], config["in_features"]
            weights = {"linear.weight": torch.randn(shape)}
            if config["bias"]:
                weights["linear.bias"] = torch.randn(shape[0])
            if config.get("use_residual"):
                weights["residual.weight"] = torch.randn(shape)
            save_file(weights, folder / "model.safetensors")
        case "LayerNorm":
            _write(folder / "config.json", {"dimension": HIDDEN})
            save_file(
                {"norm.weight": torch.randn(HIDDEN), "norm.bias": torch.randn(HIDDEN)}, folder / "model.safetensors"
            )
        case _:
            _write(folder / "config.json", {})


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(value))


def embedder(
    folder: Path, dtype: Dtype = "float32", limits: Limits = _LIMITS, module: PreTrainedModel | None = None
) -> Embedder:
    """What runs the model of the folder, or `module` as the folder's other files ask for."""
    module = module or load_in(folder, "embedding", dtype)
    behind = ModulesBehind(folder, read_sentence_format(folder))
    return Embedder(module, load_tokenizer(folder), behind, limits)


def embedded(folder: Path, *texts: str, dtype: Dtype = "float32", **options: Any) -> Embedded:  # noqa: ANN401 - Embed's
    """The vectors of texts."""
    return embed(embedder(folder, dtype), Embed(texts, **options))


def written_anew(folder: Path, target: Path) -> Path:
    """The model as sentence-transformers of today writes it."""
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(folder), device="cpu", local_files_only=True).save(str(target), create_model_card=False)
    return target


def reference(folder: Path, *texts: str, **options: Any) -> torch.Tensor:  # noqa: ANN401 - encode's
    """What sentence-transformers makes of the texts."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    made: torch.Tensor = model.encode(list(texts), convert_to_tensor=True, show_progress_bar=False, **options)
    return made.float()
