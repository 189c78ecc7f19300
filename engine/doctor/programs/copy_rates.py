"""Measures how fast bytes travel to each visible card and back; prints a JSON list of `Timed` in the order of ordinals."""

from __future__ import annotations

import statistics
import sys
from typing import Final

import torch

from engine.core.serialization import to_json
from engine.core.sizes import MIB, format_room
from engine.recording.copy_rates import CopyRates, Timed

LARGEST_BYTES: Final = 256 * MIB
SMALLEST_BYTES: Final = 8 * MIB
"""Less would measure the latency of a copy."""
ROUNDS: Final = 7


def main() -> None:
    timed = [_timed(ordinal) for ordinal in range(torch.cuda.device_count())]
    sys.stdout.write(to_json(timed).decode())


def _timed(ordinal: int) -> Timed:
    """With as much as fits a quarter of what is free, so that whatever runs there is not crowded out."""
    try:
        torch.cuda.set_device(ordinal)
        free_bytes, _total_bytes = torch.cuda.mem_get_info(ordinal)
        size_bytes = min(LARGEST_BYTES, free_bytes // 4)
        if size_bytes < SMALLEST_BYTES:
            return Timed(trouble=f"only {format_room(free_bytes)} are free on the card")
        return Timed(_measured(size_bytes))
    except RuntimeError as error:  # of one card; the others are still worth measuring
        return Timed(trouble=str(error).split("\n")[0])


def _measured(size_bytes: int) -> CopyRates:
    card = torch.zeros(size_bytes, dtype=torch.uint8, device="cuda")
    # written to, not only reserved: the first touch of a page costs more than its copy
    pageable = torch.zeros(size_bytes, dtype=torch.uint8).fill_(1)
    pinned = torch.zeros(size_bytes, dtype=torch.uint8, pin_memory=True).fill_(1)
    return CopyRates(
        size_bytes=size_bytes,
        to_card_pinned=_rate(pinned, card),
        to_card_pageable=_rate(pageable, card),
        from_card_pinned=_rate(card, pinned),
        from_card_pageable=_rate(card, pageable),
    )


def _rate(source: torch.Tensor, target: torch.Tensor) -> float:
    """Bytes a second, the median of several copies; the first one warms up."""
    times_s: list[float] = []
    for _ in range(ROUNDS + 1):
        begin, end = _event(), _event()
        torch.cuda.synchronize()
        begin.record()
        target.copy_(source, non_blocking=True)
        end.record()
        torch.cuda.synchronize()
        times_s.append(float(begin.elapsed_time(end)) / 1000)
    return source.nbytes / statistics.median(times_s[1:])


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
