"""The stand-in by itself: what PyTorch's CUDA build is told there is what a card would tell it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import pytest
import torch

from tests.standin.cards import STATE, Cards

MIB = 1 << 20
ALREADY_LOCKED = 712


@pytest.fixture
def own_cards() -> Iterator[Cards]:
    """Those of this process."""
    torch.ones(1, device="cuda")
    torch.cuda.empty_cache()
    yield Cards(os.environ[STATE])
    torch.cuda.empty_cache()


@pytest.fixture
def host() -> torch.Tensor:
    """64 MiB of the host's memory, not locked."""
    source = torch.frombuffer(mmap.mmap(-1, 64 * MIB), dtype=torch.uint8)
    return source.copy_(torch.randint(0, 256, (64 * MIB,), dtype=torch.uint8))


def lock(tensor: torch.Tensor, offset: int, length: int) -> int:
    return int(torch.cuda.cudart().cudaHostRegister(tensor.data_ptr() + offset, length, 0))  # type: ignore[no-untyped-call]


def unlock(tensor: torch.Tensor) -> int:
    return int(torch.cuda.cudart().cudaHostUnregister(tensor.data_ptr()))  # type: ignore[no-untyped-call]


def test_what_a_tensor_takes_is_what_the_card_lacks_until_it_is_given_back(own_cards: Cards) -> None:
    before = torch.cuda.mem_get_info()[0]
    there = torch.empty(64 * MIB, dtype=torch.uint8, device="cuda")
    assert before - torch.cuda.mem_get_info()[0] == 64 * MIB
    assert own_cards.card(0).total_bytes - own_cards.card(0).used_bytes == torch.cuda.mem_get_info()[0]
    del there
    torch.cuda.empty_cache()
    assert torch.cuda.mem_get_info()[0] == before


def test_bytes_come_to_the_card_and_back(own_cards: Cards, host: torch.Tensor) -> None:
    assert torch.equal(host.cuda().cpu(), host)


def test_a_copy_of_locked_pages_does_not_wait_and_is_timed(own_cards: Cards, host: torch.Tensor) -> None:
    there = torch.empty_like(host, device="cuda")
    assert lock(host, 0, 64 * MIB) == 0
    assert host.is_pinned()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
        begin.record()
        there.copy_(host, non_blocking=True)
        end.record()
    end.synchronize()
    assert begin.elapsed_time(end) > 0
    assert torch.equal(there.cpu(), host)
    assert unlock(host) == 0


def test_locks_may_not_overlap_and_the_error_is_told_once(own_cards: Cards, host: torch.Tensor) -> None:
    assert lock(host, 0, 64 * MIB) == 0
    assert lock(host, 4096, MIB) == ALREADY_LOCKED
    with pytest.raises(RuntimeError, match="already mapped"):
        torch.ones(1, device="cuda")
    assert torch.ones(1, device="cuda").item() == 1
    assert unlock(host) == 0


def test_more_than_the_card_has_is_out_of_memory_and_the_card_goes_on(own_cards: Cards) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(own_cards.card(0).total_bytes, dtype=torch.uint8, device="cuda")
    assert torch.ones(1, device="cuda").item() == 1


def test_a_refusal_that_was_asked_for_comes_when_it_was_asked_for(own_cards: Cards) -> None:
    torch.cuda.empty_cache()
    own_cards.refuse(0, first=2, times=2)  # PyTorch asks again once it has given back what is unused
    kept = torch.empty(64 * MIB, dtype=torch.uint8, device="cuda")
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(128 * MIB, dtype=torch.uint8, device="cuda")
    own_cards.refuse(0, first=0)
    assert torch.empty(128 * MIB, dtype=torch.uint8, device="cuda").is_cuda
    assert kept.is_cuda


def test_kernels_give_numbers(own_cards: Cards) -> None:
    left, right = torch.randn(9, 7), torch.randn(7, 5)
    assert torch.allclose((left.cuda() @ right.cuda()).cpu(), left @ right)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.int32])
@pytest.mark.parametrize("shape", [(3,), ()])
def test_a_number_beside_a_tensor_is_the_same_on_a_card_and_weighs_nothing(
    own_cards: Cards, kind: torch.dtype, shape: tuple[int, ...]
) -> None:
    ones = torch.ones(shape, dtype=kind)
    there, here = (ones.cuda() * 0.1).cpu(), ones * 0.1
    assert there.dtype == here.dtype == torch.result_type(ones, 0.1)
    assert torch.equal(there, here)
    assert here.double().sub(0.1).abs().max() <= torch.finfo(here.dtype).eps


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that it has threads: they are not used in the child
def test_a_child_may_not_use_its_parents_context(own_cards: Cards) -> None:
    child = os.fork()
    if not child:
        try:
            torch.zeros(1, device="cuda")
        except RuntimeError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
