"""`python -m benchmarks.families`: tries each family of models on a tiny checkpoint, in each dtype, and prints the table of
docs/models.md: the lowest cosine of what the bound model computes to what transformers' float32 model of the same folder
does."""

from __future__ import annotations

import mmap
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from msgspec import Struct
from tokenizers import Tokenizer, models
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from engine.core.models import Dtype, ModelSpec
from engine.core.tasks import TaskKind
from engine.weights.arena import Arena
from engine.weights.errors import WeightsError
from engine.weights.slab import Prepared
from engine.weights.sources import prepared_folder, resolve
from engine.worker.convert import build, load_module
from engine.worker.memory import RamBacking
from engine.worker.prepare_request import preparation_of
from engine.worker.residents import bind
from engine.worker.skeleton import Skeleton
from engine.worker.slab_stream import all_read

DTYPES: Final[tuple[Dtype, ...]] = ("float32", "float16", "bfloat16", "int8", "nf4")
VOCABULARY: Final = 64
MEMORY_BYTES: Final = 64 << 20
BERT: Final[dict[str, Any]] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 66,
    "pad_token_id": 0,
}
LLAMA: Final[dict[str, Any]] = BERT | {"num_key_value_heads": 2, "bos_token_id": 2, "eos_token_id": 3}
WIDE_HEADS: Final = {"head_dim": 16}
BART: Final[dict[str, Any]] = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_position_embeddings": 66,
}
DEBERTA: Final = {
    "relative_attention": True,
    "position_buckets": 16,
    "pos_att_type": ["p2c", "c2p"],
    "type_vocab_size": 0,
}
SIGLIP: Final = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


class Family(Struct, frozen=True):
    """A kind of model that operators use."""

    title: str
    model_type: str
    task: TaskKind
    sizes: dict[str, Any]
    model_class: str = ""
    """Of transformers; empty for the one of the task."""


FAMILIES: Final = (
    Family("BERT, bge, e5, gte", "bert", "embedding", BERT),
    Family("RoBERTa", "roberta", "embedding", BERT),
    Family("XLM-RoBERTa, bge-m3, multilingual e5", "xlm-roberta", "embedding", BERT),
    Family("MPNet", "mpnet", "embedding", BERT),
    Family("DistilBERT", "distilbert", "embedding", {"dim": 64, "hidden_dim": 128, "n_layers": 2, "n_heads": 4}),
    Family("ALBERT", "albert", "embedding", BERT | {"embedding_size": 16}),
    Family("ELECTRA", "electra", "embedding", BERT | {"embedding_size": 16}),
    Family("DeBERTa v2 and v3", "deberta-v2", "embedding", BERT | DEBERTA),
    Family("ModernBERT", "modernbert", "embedding", LLAMA | {"cls_token_id": 2, "sep_token_id": 3}),
    Family("EuroBERT", "eurobert", "embedding", LLAMA),
    Family("Nomic BERT", "nomic_bert", "embedding", BERT),
    Family(
        "T5's encoder", "t5", "embedding", {"d_model": 64, "d_ff": 128, "d_kv": 16, "num_layers": 2, "num_heads": 4}
    ),
    Family("BART", "bart", "embedding", BART),
    Family("Qwen3-Embedding", "qwen3", "embedding", LLAMA | WIDE_HEADS),
    Family("EmbeddingGemma", "gemma3_text", "embedding", LLAMA | WIDE_HEADS),
    Family("Llama", "llama", "generation", LLAMA),
    Family("Qwen2, Qwen2.5", "qwen2", "generation", LLAMA),
    Family("Qwen3", "qwen3", "generation", LLAMA | WIDE_HEADS),
    Family(
        "Qwen3, mixture of experts",
        "qwen3_moe",
        "generation",
        LLAMA | WIDE_HEADS | {"num_experts": 4, "num_experts_per_tok": 2},
    ),
    Family("Mistral", "mistral", "generation", LLAMA | {"sliding_window": 4}),
    Family("Mixtral", "mixtral", "generation", LLAMA | {"num_local_experts": 4}),
    Family("Phi-3", "phi3", "generation", LLAMA),
    Family("Gemma 2", "gemma2", "generation", LLAMA | WIDE_HEADS | {"sliding_window": 4}),
    Family("Gemma 3", "gemma3_text", "generation", LLAMA | WIDE_HEADS | {"sliding_window": 4}),
    Family(
        "Gemma 3 with pictures",
        "gemma3",
        "generation",
        {"text_config": LLAMA | WIDE_HEADS | {"vocab_size": VOCABULARY}, "vision_config": SIGLIP},
        "Gemma3ForConditionalGeneration",
    ),
    Family("GPT-2", "gpt2", "generation", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    Family("GPT-NeoX, Pythia", "gpt_neox", "generation", BERT),
    Family("BLOOM", "bloom", "generation", {"hidden_size": 64, "n_layer": 2, "n_head": 4}),
    Family("Mamba", "mamba", "generation", {"hidden_size": 64, "num_hidden_layers": 2}),
    Family("T5", "t5", "generation", {"d_model": 64}, "T5ForConditionalGeneration"),
    Family(
        "Whisper",
        "whisper",
        "generation",
        {"encoder_layers": 1, "decoder_layers": 1, "pad_token_id": 0},
        "WhisperForConditionalGeneration",
    ),
    Family("CLIP", "clip", "embedding", {}),
)


def main() -> int:
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    sys.stdout.write(f"| family | task | {' | '.join(DTYPES)} |\n|---|---|{'---|' * len(DTYPES)}\n")
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(family, Path(folder) / "checkpoint")
            cells = " | ".join(_tried(family, dtype, Path(folder)) for dtype in DTYPES)
        sys.stdout.write(f"| {family.title} | {family.task} | {cells} |\n")
        sys.stdout.flush()
    return 0


def write_checkpoint(family: Family, folder: Path) -> None:
    """A tiny checkpoint of the family, with random weights large enough to tell right from wrong."""
    config = AutoConfig.for_model(family.model_type, **({"vocab_size": VOCABULARY} | family.sizes))
    torch.manual_seed(11)
    module: PreTrainedModel
    if family.model_class:
        module = getattr(transformers, family.model_class)(config)
    else:
        loader = AutoModelForCausalLM if family.task == "generation" else AutoModel
        module = loader.from_config(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0.0, 0.15)
    module.save_pretrained(folder)
    words = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])}
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="[UNK]")), unk_token="[UNK]", pad_token="[PAD]"
    ).save_pretrained(folder)


def _tried(family: Family, dtype: Dtype, folder: Path) -> str:
    spec = ModelSpec("m", (f"path:{folder / 'checkpoint'}",), family.task, dtype)
    try:
        source = resolve(spec, folder)
        request = preparation_of(spec, source, prepared_folder(spec, source, folder), request_id=1)
        found = _computed(build(request, lambda _: None))
    except WeightsError:
        return "refused"
    wanted = _run(load_module(folder / "checkpoint", family.task, torch.float32))
    least = torch.nn.functional.cosine_similarity(found.double(), wanted.double(), dim=-1).min().item()
    return "equal" if torch.equal(found, wanted) else f"{least:.5f}"


def _computed(prepared: Prepared) -> torch.Tensor:
    """What the model computes once it is bound to its slab."""
    arena = Arena(prepared.length + (1 << 20))
    region = arena.allocate(prepared.length)
    assert region is not None
    arena.read_file(prepared.slab_path, prepared.data_offset, region, lambda _: None, threading.Event())
    backing = RamBacking(mmap.mmap(arena.fd, arena.size_bytes), MEMORY_BYTES)
    placement = backing.place(region, 0)
    placement.fill(all_read(region.length))
    skeleton = Skeleton(prepared.folder)
    bind(skeleton, placement)
    return _run(skeleton.module)


@torch.no_grad()
def _run(module: PreTrainedModel) -> torch.Tensor:
    ids = torch.tensor([list(_tokens())])
    answer = module(input_ids=ids, attention_mask=torch.ones_like(ids))
    result: torch.Tensor = answer.logits if "logits" in answer else answer.last_hidden_state
    return result[0].float()


def _tokens() -> Iterator[int]:
    return (4 + (17 * place) % (VOCABULARY - 4) for place in range(12))


if __name__ == "__main__":
    raise SystemExit(main())
