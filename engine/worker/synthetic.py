"""Making a synthetic checkpoint: a real configuration, seeded random weights, a tokenizer that spells out bytes.

`python -m engine.worker.synthetic CACHE KIND…` makes them and prints one line each.
"""

from __future__ import annotations

import errno
import shutil
import sys
from itertools import count, islice, product
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from engine.core.serialization import to_json
from engine.core.sizes import format_room, format_size
from engine.weights.errors import DiskFull
from engine.weights.header import checkpoint_files
from engine.weights.recipes import RECIPES, Recipe, checkpoint_folder
from engine.weights.sentence_files import MODULES_FILE
from engine.weights.workplace import publish, workplace

SPECIAL_TOKENS: Final = ("[PAD]", "[BOS]", "[EOS]", "[UNK]")
SYLLABLES: Final = tuple("".join(pair) for pair in product("bdfgklmnprstvz", "aeiou"))


_MODULES: Final = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
"""What comes behind the real models that these are in the shape of, and the folder of each."""


def make(recipe: Recipe, folder: Path) -> None:
    """Write the checkpoint to `folder`, which appears only when it is whole. Raises DiskFull; then nothing is left behind."""
    needed_bytes = recipe.parameters * torch.finfo(getattr(torch, recipe.stored_dtype)).bits // 8
    with workplace(folder) as temporary:
        free_bytes = shutil.disk_usage(folder.parent).free
        if needed_bytes > free_bytes:
            raise DiskFull(_disk_full(recipe, folder.parent, needed_bytes, free_bytes))
        try:
            _random_module(recipe).save_pretrained(temporary)
            _tokenizer(recipe).save_pretrained(temporary)
            _write_notes(recipe, temporary)
        except (OSError, SafetensorError) as error:
            if _is_for_want_of_room(error):
                raise DiskFull(_disk_full(recipe, folder.parent, needed_bytes, free_bytes)) from error
            raise
        publish(temporary, folder)


def main(arguments: list[str]) -> int:
    """Make the kinds that are named, each unless it is there."""
    if len(arguments) < 2 or not set(arguments[1:]) <= RECIPES.keys():
        sys.stderr.write(f"usage: python -m engine.worker.synthetic CACHE KIND…\nKIND is one of {', '.join(RECIPES)}\n")
        return 2
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    cache = Path(arguments[0])
    for kind in arguments[1:]:
        folder = checkpoint_folder(RECIPES[kind], cache)
        if not folder.is_dir():
            make(RECIPES[kind], folder)
        size_bytes = sum(path.stat().st_size for path in checkpoint_files(folder))
        sys.stdout.write(f"{kind}: {format_size(size_bytes)} of random weights in {folder}\n")
    return 0


def _random_module(recipe: Recipe) -> PreTrainedModel:
    values = dict(recipe.config)
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    loader = AutoModelForCausalLM if recipe.task == "generation" else AutoModel
    with torch.device("meta"):
        module: PreTrainedModel = loader.from_config(config, dtype=recipe.stored_dtype)  # type: ignore[no-untyped-call]
    module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.no_grad():
        for path, parameter in module.named_parameters():
            match path.rpartition("."):
                case _, _, "bias":
                    parameter.zero_()
                case owner, _, "weight" if "norm" in owner.lower():
                    parameter.fill_(1.0)
                case _:
                    parameter.normal_(0.0, recipe.deviation, generator=generator)
    return module


def _tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    vocabulary = _vocabulary(recipe.config["vocab_size"])
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    bos, eos = ((token, vocabulary[token]) for token in ("[BOS]", "[EOS]"))
    frame = "[BOS] $A [EOS]" if recipe.task == "embedding" else "[BOS] $A"
    tokenizer.post_processor = processors.TemplateProcessing(single=frame, special_tokens=[bos, eos])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        bos_token="[BOS]",
        eos_token="[EOS]",
        unk_token="[UNK]",
        model_max_length=recipe.config["max_position_embeddings"],
        padding_side="right" if recipe.task == "embedding" else "left",
    )


def _vocabulary(size: int) -> dict[str, int]:
    """Special tokens, all bytes, then made-up words, which no text becomes but which a random model may well write."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ("Ġ" + "".join(word) for length in count(2) for word in product(SYLLABLES, repeat=length))
    fixed = (*SPECIAL_TOKENS, *alphabet)
    return {token: number for number, token in enumerate((*fixed, *islice(words, size - len(fixed))))}


def _write_notes(recipe: Recipe, folder: Path) -> None:
    (folder / "SYNTHETIC").write_text(
        f"Random weights (seed {recipe.seed}) in the shape of {recipe.kind}, made by Citadel for trying out memory and"
        " switching.\nWhat this model answers means nothing.\n"
    )
    if recipe.task == "embedding":
        pooling = folder / "1_Pooling"
        pooling.mkdir()
        (pooling / "config.json").write_bytes(to_json({"pooling_mode": recipe.pooling}))
        listed = [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (kind, path) in enumerate(_MODULES.items())
        ]
        (folder / MODULES_FILE).write_bytes(to_json(listed))


def _is_for_want_of_room(error: OSError | SafetensorError) -> bool:
    """The library's own error has the number of the system's in its text only."""
    return f"os error {errno.ENOSPC}" in str(error) or (isinstance(error, OSError) and error.errno == errno.ENOSPC)


def _disk_full(recipe: Recipe, parent: Path, needed_bytes: int, free_bytes: int) -> str:
    return (
        f"making the synthetic {recipe.kind} needs {format_size(needed_bytes)} on the disk of {parent}, which has"
        f" {format_room(free_bytes)} free; nothing was kept. Free some room, or set XDG_CACHE_HOME to a folder with more"
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
