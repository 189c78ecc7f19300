"""Small random models of the supported families, and bringing one to a device in this process."""

from __future__ import annotations

import mmap
import threading
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5EncoderModel,
)

from engine.core.tasks import TaskKind
from engine.weights.arena import Arena
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared
from engine.worker.convert import load_module, write_module
from engine.worker.memory import Backing, Placement
from engine.worker.slab_stream import all_read

SMALL: Final = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
LONG_ROPE: Final = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 16,
}

EMBEDDING: Final[dict[str, dict[str, Any]]] = {
    "bert": SMALL,
    "roberta": SMALL,
    "xlm-roberta": SMALL,
    "mpnet": SMALL,
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
}
PHI3: Final = SMALL | {"max_position_embeddings": 64, "pad_token_id": 0}
GENERATION: Final[dict[str, dict[str, Any]]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 1, "eos_token_id": 2},
    "llama": SMALL,
    "qwen2": SMALL | {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "phi3": PHI3,
    "phi3-longrope": PHI3 | {"rope_parameters": LONG_ROPE, "original_max_position_embeddings": 16},
}
VOCABULARY: Final = 101
WORDS: Final = ("the", "a", "cat", "kitten", "sat", "on", "mat", "stock", "market", "rises", "once", "upon", "time")


def write_random_checkpoint(family: str, folder: Path) -> TaskKind:
    """A checkpoint of the family with random weights; its task."""
    sizes = EMBEDDING.get(family) or GENERATION[family]
    config = AutoConfig.for_model(family.removesuffix("-longrope"), vocab_size=VOCABULARY, **sizes)
    torch.manual_seed(7)
    module: PreTrainedModel
    if family in GENERATION:
        module = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    elif family == "t5":
        module = T5EncoderModel(config)  # type: ignore[arg-type]
    else:
        module = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    module.save_pretrained(folder)
    write_tokenizer(folder)
    return "generation" if family in GENERATION else "embedding"


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of a few words, as most checkpoints have one."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", eos_token="[SEP]", model_max_length=64
    ).save_pretrained(folder)


def prepare_random(family: str, folder: Path, dtype: torch.dtype = torch.float32) -> tuple[PreTrainedModel, Prepared]:
    """The family's random model as transformers loads it, and prepared."""
    checkpoint = folder / f"{family}-checkpoint"
    task = write_random_checkpoint(family, checkpoint)
    reference = load_module(checkpoint, task, dtype)
    prepared = write_module(reference, folder / family, checkpoint, f"path:{checkpoint}", lambda _: None)
    return reference, prepared


class Tier:
    """A small RAM tier, and its mapping as a worker has it."""

    def __init__(self, size_bytes: int) -> None:
        self.arena: Final = Arena(size_bytes)
        self.mapping: Final = mmap.mmap(self.arena.fd, self.arena.size_bytes)

    def read(self, prepared: Prepared) -> Region:
        """The prepared slab, read into the tier."""
        region = self.arena.allocate(prepared.length)
        assert region is not None
        self.arena.read_file(prepared.slab_path, prepared.data_offset, region, lambda _: None, threading.Event())
        return region


def filled(backing: Backing, source: Region, workspace_bytes: int = 0) -> Placement:
    """The slab at `source`, brought to the device."""
    placement = backing.place(source, workspace_bytes)
    placement.fill(all_read(source.length))
    return placement


@torch.no_grad()
def run(module: PreTrainedModel, tokens: int = 12) -> torch.Tensor:
    """A forward run on fixed tokens; the output that matters."""
    ids = torch.arange(2 * tokens).reshape(2, tokens) % (VOCABULARY - 5) + 4
    output = module(input_ids=ids.to(module.device))
    result: torch.Tensor = output.logits if "logits" in output else output.last_hidden_state
    return result.clone()
