"""What a finished load teaches: how fast its device took the bytes."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.latency import learn
from engine.core.names import DeviceId
from engine.core.state import State


def learned(state: State, device: DeviceId, size_bytes: int, copy_s: float, ready_s: float) -> State:
    """`state` after a load of `size_bytes` whose copy took `copy_s`, and copy, bind and warm-up together `ready_s`."""
    known = state.devices[device]
    rate = size_bytes / copy_s if copy_s > 0 else 0.0
    known = replace(
        known,
        rates=learn(known.rates, size_bytes, ready_s),
        copy_bytes_per_s=max(rate, known.copy_bytes_per_s or 0.0) or None,
    )
    return replace(state, devices={**state.devices, device: known})
