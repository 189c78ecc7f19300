"""Prints what the installed torch says of itself and of the cards, as one JSON value of `machine.Torch`."""

from __future__ import annotations

import mmap
import sys
import warnings

from engine.core.serialization import to_json
from engine.doctor.machine import Torch, TorchBroken, TorchCard, TorchFacts, TorchMissing

_TRIED_BYTES = 16 << 20


def main() -> None:
    """A torch that warns, complains or is not there is a finding, never an error of this program."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        facts = _ask(said)
    sys.stdout.write(to_json(facts).decode())


def _ask(said: list[warnings.WarningMessage]) -> Torch:
    try:
        import torch
    except ModuleNotFoundError as error:
        return TorchMissing() if error.name == "torch" else TorchBroken(str(error))
    except Exception as error:  # whatever a damaged installation raises is what the operator must read
        return TorchBroken(f"{type(error).__name__}: {error}")
    said.clear()
    available = torch.cuda.is_available()
    count = torch.cuda.device_count() if available else 0
    return TorchFacts(
        version=str(torch.__version__),
        cuda=torch.version.cuda,
        architectures=tuple(torch.cuda.get_arch_list()),
        available=available,
        trouble=" ".join(str(warning.message).split("\n")[0] for warning in said) if not available else "",
        cards=tuple(_card(ordinal) for ordinal in range(count)),
    )


def _card(ordinal: int) -> TorchCard:
    import torch

    properties = torch.cuda.get_device_properties(ordinal)
    capability = (properties.major, properties.minor)
    trouble = _sum_trouble(ordinal)
    locking = "" if trouble else _page_locking_trouble()
    return TorchCard(properties.name, capability, properties.total_memory, trouble, locking)


def _sum_trouble(ordinal: int) -> str:
    import torch

    try:
        total = torch.ones(1024, device=f"cuda:{ordinal}").sum().item()
    except Exception as error:  # CUDA's errors are of several classes, and each of them is the answer
        return str(error).split("\n")[0]
    return "" if total == 1024 else f"1024 ones add up to {total}"


def _page_locking_trouble() -> str:
    import torch

    memory = mmap.mmap(-1, _TRIED_BYTES)
    try:
        address = torch.frombuffer(memory, dtype=torch.uint8).data_ptr()
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        outcome = runtime.cudaHostRegister(address, _TRIED_BYTES, 1)  # 1: portable, for every context
        if int(outcome) == 0:
            runtime.cudaHostUnregister(address)
            return ""
        return str(runtime.cudaGetErrorString(outcome))
    except Exception as error:
        return str(error).split("\n")[0]


if __name__ == "__main__":
    main()
