"""Which number formats a card computes fast, by compute capability. Pure.

From NVIDIA's CUDA C++ programming guide, the table "Throughput of Native Arithmetic Instructions" and the data types of tensor
cores under "Compute Capabilities": half precision runs at twice the single-precision rate on 5.3, 6.0 and 6.2, at 1/64 of it on
6.1 (2 against 128 results a clock), and in tensor cores from 7.0; bfloat16 and TF32 in tensor cores from 8.0; 8-bit integers by
a four-way dot product (dp4a) from 6.1 and in tensor cores from 7.2; 8-bit floats from 8.9, 4-bit floats from 10.0.
"""

from __future__ import annotations

from typing import Final

from engine.doctor.machine import Capability

_HALF_BEFORE_TENSOR_CORES: Final = ((5, 3), (6, 0), (6, 2))


def fast_dtypes(card: Capability) -> tuple[str, ...]:
    """Formats in which computing is at least as fast as in float32; one that is left out may still work, slowly."""
    fast = {
        "float32": True,
        "tf32": card >= (8, 0),
        "float16": card >= (7, 0) or card in _HALF_BEFORE_TENSOR_CORES,
        "bfloat16": card >= (8, 0),
        "int8": card >= (6, 1),
        "float8": card >= (8, 9),
        "float4": card >= (10, 0),
    }
    return tuple(dtype for dtype, is_fast in fast.items() if is_fast)
