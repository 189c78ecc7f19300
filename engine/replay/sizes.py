"""Sizes of a trace's models: read from a file, or given in turn; and sizes as people write them for disks and cards."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from engine.core.names import ModelName
from engine.core.sizes import parse_size
from engine.replay.trace import TraceError

MB: Final = 10**6
GB: Final = 10**9
CYCLE_BYTES: Final = tuple(mb * MB for mb in (90, 130, 440, 700, 1300, 2200, 2400, 4000))
"""Sizes of models in common use, from a sentence embedder to a small chat model; given to the models of a trace in turn."""
SIZES_HEADING: Final = "model,size"

_DECIMAL: Final = re.compile(r"(\d+(?:\.\d+)?) ?([MG])B")


def parse_bytes(text: str) -> int:
    """Bytes in `text`: decimal as in "4.8GB" or binary as in "6GiB". Raises ValueError with what to write."""
    if found := _DECIMAL.fullmatch(text.strip()):
        return round(float(found[1]) * (GB if found[2] == "G" else MB))
    try:
        return parse_size(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a size; write a number and a unit, such as 4.8GB or 6GiB") from None


def cycled_sizes(models: Iterable[ModelName]) -> dict[ModelName, int]:
    """A size for each of `models`: `CYCLE_BYTES` in turn, in the order of their names."""
    return {model: CYCLE_BYTES[rank % len(CYCLE_BYTES)] for rank, model in enumerate(sorted(set(models)))}


def read_sizes(lines: Iterable[str], models: Iterable[ModelName]) -> dict[ModelName, int]:
    """The sizes of `models` from lines of `model,size`. Raises TraceError for a bad line, or a model that has no size."""
    sizes: dict[ModelName, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == 1 and line.strip() == SIZES_HEADING):
            continue
        model, _, size = line.strip().partition(",")
        try:
            sizes[model.strip()] = parse_bytes(size)
        except ValueError as error:
            raise TraceError(f"line {number}: {error}") from None
        if sizes[model.strip()] == 0:
            raise TraceError(f"line {number}: {model.strip()} has no bytes")
    if missing := sorted(set(models) - sizes.keys()):
        raise TraceError(f"no size is given for {', '.join(missing)}; each needs a line {SIZES_HEADING}")
    return {model: sizes[model] for model in sorted(set(models))}
