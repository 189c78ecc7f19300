"""Runs under an interpreter that has infinity-emb and nothing of ours: `infinity_peer.py CHECKPOINT THREADS`.

A line of JSON in (texts and clients), a line out: the seconds that it took.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Protocol

import torch


class Embeds(Protocol):
    """infinity's engine, as far as it is used."""

    async def embed(self, sentences: list[str]) -> object: ...


async def main(folder: str, threads: int) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever it prints is no answer
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs  # type: ignore[import-not-found,unused-ignore]

    how = {"device": "cpu", "dtype": "float32", "bettertransformer": False, "model_warmup": False, "compile": False}
    arguments = EngineArgs(model_name_or_path=folder, engine="torch", batch_size=32, **how)
    engine = AsyncEmbeddingEngine.from_args(arguments)
    await engine.astart()
    torch.set_num_threads(threads)
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        texts = iter(asked["texts"])
        began_s = time.perf_counter()
        await asyncio.gather(*(_client(engine, texts) for _ in range(asked["clients"])))
        answers.write(f"{time.perf_counter() - began_s}\n")
        answers.flush()
    await engine.astop()


async def _client(engine: Embeds, texts: Iterator[str]) -> None:
    for text in texts:
        await engine.embed([text])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
