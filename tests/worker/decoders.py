"""Tiny decoders of many families with random weights that write many different tokens, two tokenizers for them, and what
transformers writes on the same folder: the oracle of generation."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from engine.core.models import Limits
from engine.core.tasks import Continuation, Generate, TaskPart, TextPart
from engine.worker.convert import load_module
from engine.worker.generation import Generator
from engine.worker.lanes import Asked, Turn
from engine.worker.running import RunOutcome
from engine.worker.tokenizer import load_tokenizer

_SIZES: Final = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_GROUPED: Final = _SIZES | {"num_key_value_heads": 2, "max_position_embeddings": 128}
FAMILIES: Final[dict[str, dict[str, Any]]] = {
    "llama": _GROUPED,
    "qwen2": _GROUPED,
    "phi3": _GROUPED,
    "mistral": _GROUPED | {"sliding_window": 8},
    "gemma2": _GROUPED | {"head_dim": 8},
    "gpt_neox": _SIZES | {"max_position_embeddings": 128},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "opt": {
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
    },
}
BEGIN: Final = "<s>"
END: Final = "</s>"
LIMITS: Final = Limits(max_batch=1, max_sequence=96)


def bytes_tokenizer() -> PreTrainedTokenizerFast:
    """A token a byte, as byte-level BPE has it, and a few of several bytes, one of which ends in the middle of a character."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "a"), ("t", "h"), ("th", "e"), ("ð", "Ł")]
    words = [BEGIN, END, *alphabet, *("".join(pair) for pair in merges)]
    backend = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=BEGIN, eos_token=END)  # type: ignore[no-untyped-call]


def fallback_tokenizer() -> PreTrainedTokenizerFast:
    """Words with their spaces, and bytes for all else, as sentencepiece has it."""
    words = [BEGIN, END, "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁the", "▁a", "b", "c", "s", "t"]
    backend = Tokenizer(
        models.BPE({w: n for n, w in enumerate(words)}, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, bos_token=BEGIN, eos_token=END, unk_token="<unk>"
    )


def write_decoder(folder: Path, family: str = "llama", tokenizer: PreTrainedTokenizerFast | None = None) -> Path:
    """A checkpoint of the family. Its weights are untied and large: others would write one token for ever."""
    tokenizer = tokenizer or bytes_tokenizer()
    sizes = FAMILIES[family] | {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = AutoConfig.for_model(family, vocab_size=len(tokenizer), tie_word_embeddings=False, **sizes)
    torch.manual_seed(3)
    module = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for weight in module.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.3)
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def ask_for(folder: Path, **settings: object) -> None:
    """Have the checkpoint ask for that when it writes."""
    path = folder / "generation_config.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(before | settings))


def generator(folder: Path, limits: Limits = LIMITS) -> Generator:
    return Generator(load_module(folder, "generation", torch.float32), load_tokenizer(folder), limits)


class Run:
    """A run of a lane, and all that came of it."""

    def __init__(self, task: Generate, number: int = 1) -> None:
        self.said: list[TextPart] = []
        self.answers: list[RunOutcome | Exception] = []
        self._over: Final = threading.Event()
        self.asked: Final = Asked(number, task, self.say, self._answered, self._answered)

    def say(self, part: TaskPart) -> None:
        assert isinstance(part, TextPart)
        self.said.append(part)

    def _answered(self, answer: RunOutcome | Exception) -> None:
        self.answers.append(answer)
        self._over.set()

    @property
    def outcome(self) -> RunOutcome:
        """Waited for; raises why the run failed."""
        assert self._over.wait(60)
        (answer,) = self.answers
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def text(self) -> str:
        """What was said so far."""
        text = ""
        for part in self.said:
            text = text[: part.begin] + part.text
        return text

    @property
    def result(self) -> Continuation:
        """Of a run that ended well; what was said meanwhile is the same text."""
        result = self.outcome.result
        assert isinstance(result, Continuation)
        assert self.text == result.text
        return result


def outcome_of(runner: Generator, task: Generate) -> RunOutcome:
    """Of the only run of a lane."""
    lane, run = runner.lane("m", Turn()), Run(task)
    lane.take(run.asked)
    try:
        return run.outcome
    finally:
        lane.close()


def written(runner: Generator, task: Generate) -> Continuation:
    """What it writes; what is said meanwhile is the same text."""
    lane, run = runner.lane("m", Turn()), Run(task)
    lane.take(run.asked)
    try:
        return run.result
    finally:
        lane.close()


def written_by_transformers(
    folder: Path, prompt: str | list[int], tokens: int, **settings: object
) -> tuple[str, list[int]]:
    """The text and the tokens of `generate` itself."""
    tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(folder)
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    row = torch.tensor([tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else prompt])
    generate: Callable[..., torch.Tensor] = getattr(module, "generate")  # noqa: B009 - typed as of another class
    answer = generate(
        input_ids=row, attention_mask=torch.ones_like(row), max_new_tokens=tokens, **{"do_sample": False, **settings}
    )
    new = answer[0, row.shape[1] :].tolist()
    return str(tokenizer.decode(new, skip_special_tokens=True)), new
