"""The card's own figures: memory comes back, limits hold, and a shortage is met step by step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from engine.core.sizes import MIB
from engine.weights.shared_memory import Region
from engine.worker.cuda import CudaBacking
from engine.worker.cuda_device import TorchCuda
from engine.worker.errors import OutOfMemory
from engine.worker.running import in_parts
from engine.worker.slab_stream import all_read
from tests.hardware.conftest import LIMIT_BYTES, TIER_BYTES
from tests.worker.models import Tier

SOURCE = Region(0, 256 * MIB)
ROW_BYTES = 64 * MIB


def free_bytes() -> int:
    torch.cuda.synchronize()
    return torch.cuda.mem_get_info(0)[0]


def test_the_card_shows_every_evicted_byte_free_again(backing: CudaBacking) -> None:
    backing.place(SOURCE, 0).vacate()
    empty_bytes, begun_bytes = backing.used_bytes, free_bytes()
    for _ in range(10):
        placement = backing.place(SOURCE, 0)
        assert begun_bytes - free_bytes() >= SOURCE.length
        assert backing.used_bytes >= empty_bytes + SOURCE.length
        assert placement.vacate() == 0
        assert free_bytes() >= begun_bytes
    assert backing.used_bytes == empty_bytes


def test_two_models_leave_one_by_one_in_either_order(backing: CudaBacking) -> None:
    source = Region(0, 64 * MIB)
    backing.place(source, 0).vacate()
    for order in ((0, 1), (1, 0)):
        placements = [backing.place(source, 0) for _ in range(2)]
        for number in order:
            before_bytes = free_bytes()
            assert placements[number].vacate() == 0
            assert free_bytes() - before_bytes >= 64 * MIB


def test_activations_of_a_running_model_do_not_hold_an_evicted_one(backing: CudaBacking) -> None:
    placement = backing.place(SOURCE, 0)
    activations = torch.empty(100 * MIB, dtype=torch.uint8, device="cuda")
    before_bytes = free_bytes()
    assert placement.vacate() == 0
    assert free_bytes() - before_bytes >= SOURCE.length
    assert activations.is_cuda


def test_the_context_is_measured_and_plausible(backing: CudaBacking) -> None:
    backing.place(Region(0, MIB), 0)
    assert backing.card is not None
    assert backing.card.total_bytes > backing.card.free_bytes > 0
    # in this process a context may have been there before, and then making it took nothing that could be seen
    assert backing.card.context_bytes is None or 0 < backing.card.context_bytes < 4096 * MIB


def test_a_load_beyond_the_slice_is_refused_before_the_card_is_asked(backing: CudaBacking) -> None:
    backing.place(SOURCE, 0)
    with pytest.raises(OutOfMemory, match=r"needed, .* free"):
        backing.place(SOURCE, LIMIT_BYTES)


def test_a_run_beyond_the_slice_is_refused_by_torch_though_the_card_has_room(backing: CudaBacking) -> None:
    backing.place(SOURCE, 0)
    if free_bytes() < 2 * LIMIT_BYTES:
        pytest.skip("the card is too full to tell the slice's limit from its own")
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(LIMIT_BYTES, dtype=torch.uint8, device="cuda")


def test_a_batch_that_the_card_has_no_room_for_is_halved_until_it_fits(backing: CudaBacking) -> None:
    backing.place(SOURCE, 0)
    card = TorchCuda(0)
    backing.runs.collect()
    card.cap(card.figures().reserved_bytes + 5 * ROW_BYTES)
    tries: list[int] = []

    def run(rows: list[int]) -> float:
        tries.append(len(rows))
        activations = torch.ones(len(rows) * ROW_BYTES, dtype=torch.uint8, device="cuda")
        return activations[0].item()

    parts = [part for part, _ in in_parts(list(range(8)), run, backing.runs)]
    assert parts == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert tries == [8, 8, 4, 4]


def test_a_single_row_that_is_too_much_is_refused_with_the_cards_figures(backing: CudaBacking) -> None:
    backing.place(SOURCE, 0)

    def run(rows: list[int]) -> torch.Tensor:
        return torch.empty(len(rows) * LIMIT_BYTES, dtype=torch.uint8, device="cuda")

    with pytest.raises(OutOfMemory, match=r"of this device's 2\.0 GiB are in use; the whole card shows"):
        list(in_parts([1], run, backing.runs))


def test_a_runs_peak_is_measured(backing: CudaBacking) -> None:
    backing.place(SOURCE, 0)
    with backing.runs.measure() as took:
        torch.empty(ROW_BYTES, dtype=torch.uint8, device="cuda")
    assert took.workspace_bytes == ROW_BYTES


def test_locked_pages_are_pinned_until_they_are_unlocked(
    backing: CudaBacking, tier: Tier, record_property: Callable[[str, object], None]
) -> None:
    source = tier.arena.allocate(TIER_BYTES - 32 * MIB)
    assert source is not None
    with torch.no_grad():
        whole = torch.frombuffer(tier.mapping, dtype=torch.uint8)[source.offset : source.offset + source.length]
        whole.fill_(7)
        placement = backing.place(source, 0)
        pinned = placement.fill(all_read(source.length))
        assert whole.is_pinned()
        backing.unlock(source)
        assert not whole.is_pinned()
        pageable = TorchCuda(0)
        pageable.open()
        target = pageable.allocate(source.length)
        pageable_s = pageable.copy(target, whole)
        assert int(target[-1].item()) == 7
    record_property("pinned GB/s", round(source.length / pinned.copy_s / 1e9, 2))
    record_property("pageable GB/s", round(source.length / pageable_s / 1e9, 2))
    assert placement.vacate() == 0
