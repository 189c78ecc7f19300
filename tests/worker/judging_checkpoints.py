"""Small random checkpoints with heads that judge texts, whole with their tokenizers, and prepared and bound as a worker does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from engine.core.models import Dtype, Limits
from engine.core.tasks import TaskKind
from engine.weights.slab import Prepared
from engine.worker.convert import prepare
from engine.worker.lanes import Lane
from engine.worker.memory import HostBacking
from engine.worker.protocol import Bind, Prepare
from engine.worker.residents import Residents
from tests.worker.models import SMALL, Tier

MOST_TOKENS: Final = 24
WORDS: Final = (
    "a",
    "cat",
    "sits",
    "on",
    "the",
    "mat",
    "who",
    "stock",
    "market",
    "fell",
    "today",
    "dog",
    "warm",
    "sill",
)
_SPECIAL: Final = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
_POSITIONS: Final = {"max_position_embeddings": 64}

FAMILIES: Final[dict[str, dict[str, Any]]] = {
    "bert": SMALL | _POSITIONS | {"pad_token_id": 0},
    "roberta": SMALL | _POSITIONS | {"pad_token_id": 0},
    "xlm-roberta": SMALL | _POSITIONS | {"pad_token_id": 0},
    "deberta-v2": SMALL
    | _POSITIONS
    | {
        "pad_token_id": 0,
        "relative_attention": True,
        "position_buckets": 8,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "type_vocab_size": 0,
        "pooler_hidden_size": SMALL["hidden_size"],
    },
    "modernbert": SMALL | _POSITIONS | {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "pad_token_id": 0} | _POSITIONS,
    "albert": SMALL | _POSITIONS | {"pad_token_id": 0, "embedding_size": 32},
    "mpnet": SMALL | _POSITIONS | {"pad_token_id": 1},
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4}
    | {"pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0},
    "bart": {"d_model": 32, "pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}
    | {"encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 64}
    | {"decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 64}
    | _POSITIONS,
    "qwen3": SMALL | {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0},
    "gemma2": SMALL | {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0},
    "qwen2": SMALL | {"num_key_value_heads": 2, "pad_token_id": 0},
    "llama": SMALL | {"num_key_value_heads": 2, "pad_token_id": None},
}


def write_judge(family: str, folder: Path, labels: int = 1, **changes: object) -> Path:
    """A checkpoint of the family in `folder`, with a head of so many labels; `changes` go into its config.json."""
    vocabulary = {word: number for number, word in enumerate((*_SPECIAL, *WORDS))}
    config = AutoConfig.for_model(family, vocab_size=len(vocabulary), num_labels=labels, **FAMILIES[family])
    torch.manual_seed(11)
    module = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:  # a fresh head gives next to nothing, and all documents the same
            torch.nn.init.normal_(parameter, std=0.3)
        elif name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    module.save_pretrained(folder)
    _tokenizer(vocabulary, has_types=family in ("bert", "deberta-v2")).save_pretrained(folder)
    change_json(folder / "config.json", **changes)
    return folder


def change_json(path: Path, **changes: object) -> None:
    """Write `changes` over what the file says; None takes a key away."""
    values = json.loads(path.read_text()) | changes if path.is_file() else changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def _tokenizer(vocabulary: dict[str, int], *, has_types: bool) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    second = "$B:1 [SEP]:1" if has_types else "[SEP] $B [SEP]"
    special = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=f"[CLS] $A [SEP] {second}", special_tokens=special
    )
    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        model_max_length=MOST_TOKENS,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"] if has_types else names,
    )


def prepare_judge(checkpoint: Path, task: TaskKind, dtype: Dtype = "float32") -> Prepared:
    """The checkpoint's prepared folder, beside it. Raises BadCheckpoint."""
    folder = checkpoint.parent / f"{checkpoint.name}-{task}-{dtype}"
    request = Prepare(1, "m", f"path:{checkpoint}", str(checkpoint), str(folder), task, dtype, None)
    return prepare(request, lambda _: None)


def bound_judge(
    checkpoint: Path, task: TaskKind, tier: Tier, dtype: Dtype = "float32", limits: Limits | None = None
) -> Lane:
    """Prepared, bound on the CPU from its slab, and warmed."""
    prepared = prepare_judge(checkpoint, task, dtype)
    region = tier.read(prepared)
    residents = Residents(HostBacking(tier.mapping, 64 << 20))
    made = str(prepared.folder), prepared.layout_id
    limits = limits or Limits(max_batch=4, max_sequence=MOST_TOKENS)
    residents.bind(Bind(1, "m", *made, region.offset, region.length, 0, task, limits))
    return residents.find("m").lane
