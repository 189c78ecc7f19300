"""Exchanges of slabs for tests: each of a box with a tiny checkpoint, prepared or not."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from engine.clock import Clock
from engine.core.models import Footprint, ModelSpec
from engine.core.names import ModelName
from engine.core.state import ModelState
from engine.runtime.initial_state import ModelLook
from engine.runtime.slab_exchange import SlabExchange
from engine.scheduler.messages import Message
from engine.weights.layout import TensorFacts, place
from engine.weights.slab import SlabContents, write_prepared
from engine.weights.sources import Source, prepared_folder
from tests.weights.checkpoints import write_checkpoint

MODEL = "m"
NUMBERS = np.arange(1000, dtype=np.float32)


class Box(NamedTuple):
    """An engine's exchange, and what it said."""

    exchange: SlabExchange
    folder: Path
    posted: list[Message]
    notes: list[str]


def slab_box(at: Path, clock: Clock) -> Box:
    checkpoint = write_checkpoint(at / "checkpoint")
    spec = ModelSpec(MODEL, (f"path:{checkpoint}",), "embedding")
    source = Source(spec.sources[0], checkpoint)
    posted: list[Message] = []
    notes: list[str] = []

    class Files:
        def look(self, model: ModelName) -> ModelLook | None:
            if model == "broken":
                return ModelLook(ModelState(spec, Footprint(0, 0), trouble="its files are gone"), None)
            return ModelLook(ModelState(spec, Footprint(4000, 0)), source) if model == MODEL else None

    def note(level: str, text: str) -> None:
        notes.append(f"{level}: {text}")

    exchange = SlabExchange(Files(), at / "cache", posted.append, note, clock)
    return Box(exchange, prepared_folder(spec, source, at / "cache"), posted, notes)


def prepare(made: Box) -> None:
    facts = TensorFacts("a", "parameter", "F32", NUMBERS.shape, (1,), NUMBERS.nbytes)
    contents = SlabContents("BertModel", "path:/x", place([facts]), ())
    checkpoint = made.folder.parents[2] / "checkpoint"
    write_prepared(made.folder, checkpoint, contents, lambda _: memoryview(NUMBERS.tobytes()), lambda _: None)
