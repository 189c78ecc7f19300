"""What the benchmark of requests asks: an engine with its models on one virtual GPU, and beside it the same models bare, in this
process, with as many threads as the engine's worker has."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import torch
from msgspec import Struct
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from benchmarks.engines import carried_out, started
from benchmarks.rivals import Answering
from benchmarks.subjects import DECODER, Model, made
from engine.api import Updated
from engine.core.commands import Load
from engine.core.names import ModelName
from engine.runtime.engine import Engine
from engine.worker.synthetic import SYLLABLES

ENCODERS: Final = ("all-MiniLM-L6-v2", "bge-base")
_WORDS: Final = (
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
)
_ALLOCATION: Final = "devices: {virtual: [{memory: 5GiB}]}\nram_tier: {budget: 2GiB}\n"
_LIMITS: Final = {
    "embedding": {"max_batch": 32, "max_sequence": 128},
    "generation": {"max_batch": 8, "max_sequence": 512},
}
_T = TypeVar("_T")


class Sample(Struct, frozen=True):
    """Of one round: a figure of the row, and the times that it is made of, in seconds, by what they are of."""

    figure: float
    seconds: dict[str, float] = {}


class BareEncoder:
    """A module that is asked without a queue."""

    def __init__(self, folder: Path) -> None:
        self._module: Final[Any] = AutoModel.from_pretrained(folder, local_files_only=True)
        self._answering: Final = Answering(folder)

    def embed_s(self, texts: list[str]) -> float:
        """Seconds from the texts to their vectors."""
        began_s = time.perf_counter()
        self._answering.answer(self._module, texts)
        return time.perf_counter() - began_s


class BareDecoder:
    """transformers' `generate`, greedy."""

    def __init__(self, folder: Path) -> None:
        self._module: Final[Any] = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        self._tokenizer: Final[Any] = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def generate_s(self, prompt: str, tokens: int) -> float:
        """Seconds from the prompt to its continuation."""
        began_s = time.perf_counter()
        read = self._tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            wrote = self._module.generate(**read, max_new_tokens=tokens, do_sample=False)
        self._tokenizer.decode(wrote[0])
        return time.perf_counter() - began_s

    def prompt(self, tokens: int, seed: int) -> str:
        """A text of so many tokens."""
        random = Random(seed)
        text = ""
        while len(self._tokenizer(text)["input_ids"]) < tokens:
            text += random.choice(SYLLABLES)
        return text


class Asked(Struct, frozen=True, eq=False):
    """Everything that rows measure with."""

    engine: Engine
    folders: dict[ModelName, Path]
    """Of the checkpoints."""
    encoders: dict[ModelName, BareEncoder]
    decoder: BareDecoder | None
    is_quick: bool

    def texts(self, model: ModelName, count: int, seed: int = 0) -> list[str]:
        """So many texts of about twelve tokens, special ones included."""
        random = Random(seed)
        pieces, space = (_WORDS, " ") if model == ENCODERS[0] else (SYLLABLES, "")
        return [space.join(random.choice(pieces) for _ in range(10)) for _ in range(count)]

    async def until_idle(self) -> None:
        """Wait until nothing runs any more."""
        async for event in self.engine.events():
            if isinstance(event, Updated) and not any(r.leases for r in event.snapshot.state.residents):
                return

    async def leases(self, model: ModelName) -> int:
        return sum(resident.leases for resident in (await self.engine.snapshot()).state.of(model))


@asynccontextmanager
async def asked(folder: Path, names: Sequence[str], *, is_quick: bool) -> AsyncIterator[Asked]:
    """With these models, which are loaded and warm."""
    torch.set_num_threads(os.cpu_count() or 1)
    models = [made(name, folder / "models") for name in names]
    engine = await started(folder / "home", _config(folder / "config", models))
    try:
        for model in models:
            await carried_out(engine, Load(model.name, "gpu0"))
        encoders = {model.name: BareEncoder(model.folder) for model in models if model.name != DECODER}
        decoder = next((BareDecoder(model.folder) for model in models if model.name == DECODER), None)
        yield Asked(engine, {model.name: model.folder for model in models}, encoders, decoder, is_quick)
    finally:
        await engine.stop()


def _config(folder: Path, models: Sequence[Model]) -> Path:
    folder.mkdir()
    catalog = []
    for model in models:
        task = "generation" if model.name == DECODER else "embedding"
        source = f"path:{model.folder}"
        catalog.append({"name": model.name, "source": source, "task": task, "limits": _LIMITS[task]})
    (folder / "model_gpu_mapping.json").write_text(json.dumps({"models": catalog}))
    (folder / "gpu_allocation.yaml").write_text(_ALLOCATION)
    return folder


async def timed(work: Awaitable[object]) -> float:
    """Seconds until it is done."""
    began_s = time.perf_counter()
    await work
    return time.perf_counter() - began_s


async def together(*works: Awaitable[_T]) -> list[_T]:
    """All at once."""
    return await asyncio.gather(*works)
