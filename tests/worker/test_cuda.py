"""A card's memory, on a scripted card: what is admitted, what is proven, what is said when something lacks."""

from __future__ import annotations

import logging

import pytest

from engine.core.sizes import MIB
from engine.weights.layout import SlabEntry
from engine.weights.shared_memory import Region
from engine.worker.cuda import SMALLEST_SEGMENT, CudaBacking
from engine.worker.cuda_device import cuda_ordinal, see_only
from engine.worker.errors import DeviceUnusable, OutOfMemory, StaleLock, failure_of
from engine.worker.memory import Placement
from engine.worker.protocol import CardMemory
from engine.worker.slab_stream import all_read
from tests.worker.models import Tier
from tests.worker.scripted_card import CONTEXT_BYTES, ScriptedCard

LIMIT_BYTES = 64 * MIB
SOURCE = Region(0, 12 * MIB)
BYTE = SlabEntry("x", "parameter", "U8", (1,), (1,), 1, offset=0)


@pytest.fixture
def card() -> ScriptedCard:
    return ScriptedCard()


@pytest.fixture
def backing(card: ScriptedCard, tier: Tier) -> CudaBacking:
    return CudaBacking(card, tier.mapping, LIMIT_BYTES, page_locks=True)


def test_nothing_is_made_on_the_card_before_the_first_load(card: ScriptedCard, backing: CudaBacking) -> None:
    assert (backing.used_bytes, backing.card, card.events) == (0, None, [])
    backing.place(SOURCE, 0)
    assert card.events == ["open", "allocate"]
    backing.place(SOURCE, 0)
    assert card.events.count("open") == 1


def test_the_context_stays_and_is_counted(card: ScriptedCard, backing: CudaBacking) -> None:
    backing.place(SOURCE, 0).vacate()
    assert backing.used_bytes == CONTEXT_BYTES
    assert backing.card == CardMemory(card.total_bytes, card.total_bytes - CONTEXT_BYTES, CONTEXT_BYTES)


def test_a_card_that_was_full_when_the_context_was_made_is_tried_again(
    card: ScriptedCard, backing: CudaBacking
) -> None:
    card.open_error = OutOfMemory("out of memory: no room for a CUDA context just now")
    with pytest.raises(OutOfMemory):
        backing.place(SOURCE, 0)
    assert backing.used_bytes == 0
    card.open_error = None
    backing.place(SOURCE, 0)
    assert backing.used_bytes == CONTEXT_BYTES + SOURCE.length


def test_a_lock_that_outlived_its_memory_is_no_slower_copy_but_an_error(
    card: ScriptedCard, backing: CudaBacking
) -> None:
    card.lock_error = StaleLock("the driver still holds a page-lock")
    with pytest.raises(StaleLock):
        backing.place(SOURCE, 0)


def test_a_context_that_nobody_can_measure_is_unknown_not_zero(card: ScriptedCard, backing: CudaBacking) -> None:
    card.context_bytes = None
    backing.place(SOURCE, 0)
    assert backing.card is not None
    assert backing.card.context_bytes is None
    assert backing.used_bytes == SOURCE.length


def test_context_weights_and_workspace_share_the_limit(backing: CudaBacking) -> None:
    backing.place(SOURCE, 20 * MIB)
    with pytest.raises(OutOfMemory, match="30 MiB needed, 29 MiB of 64 MiB free"):
        backing.place(SOURCE, 18 * MIB)
    backing.place(SOURCE, 17 * MIB)


def test_a_whole_card_admits_what_it_has_by_now(card: ScriptedCard, tier: Tier) -> None:
    backing = CudaBacking(card, tier.mapping, None, page_locks=True)
    card.total_bytes = 40 * MIB
    with pytest.raises(OutOfMemory, match="42 MiB needed, 37 MiB of 40 MiB free"):
        backing.place(SOURCE, 30 * MIB)
    card.total_bytes = 80 * MIB
    backing.place(SOURCE, 30 * MIB)


def test_a_small_model_gets_a_segment_of_its_own_which_can_go_back_alone(backing: CudaBacking) -> None:
    small = Region(0, 4096)
    first, second = backing.place(small, 0), backing.place(small, 0)
    assert backing.used_bytes == CONTEXT_BYTES + 2 * SMALLEST_SEGMENT
    assert first.vacate() == 0
    assert backing.used_bytes == CONTEXT_BYTES + SMALLEST_SEGMENT
    assert second.tensor(BYTE).numel() == 1


def test_what_running_models_left_unused_makes_room_for_a_load(card: ScriptedCard, backing: CudaBacking) -> None:
    first = backing.place(SOURCE, 0)
    card.keeps_what_is_unused = True
    first.vacate()
    card.keeps_what_is_unused = False
    card.others_bytes = card.figures().free_bytes - MIB
    backing.place(SOURCE, 0)
    assert card.events[-2:] == ["collect", "allocate"]


def test_a_card_filled_by_others_refuses_a_load_with_figures_and_keeps_what_it_has(
    card: ScriptedCard, backing: CudaBacking
) -> None:
    first = backing.place(SOURCE, 0)
    card.others_bytes = card.figures().free_bytes - MIB
    with pytest.raises(OutOfMemory) as refused:
        backing.place(SOURCE, 0)
    assert str(refused.value) == (
        "out of memory: 12 MiB could not be allocated, also after all unused memory was given back. 15 MiB of this"
        " device's 64 MiB are in use; the whole card shows 1 MiB of 256 MiB free. What was loaded stays; evict a"
        " model, or load this one elsewhere"
    )
    assert card.events[-4:] == ["allocate", "collect", "allocate", "collect"]
    assert backing.used_bytes == CONTEXT_BYTES + SOURCE.length
    assert first.tensor(BYTE).numel() == 1


def test_memory_that_the_driver_does_not_show_free_is_reported_and_stays_charged(
    card: ScriptedCard, backing: CudaBacking, caplog: pytest.LogCaptureFixture
) -> None:
    placement = backing.place(SOURCE, 30 * MIB)
    card.keeps_what_is_unused = True
    assert placement.vacate() == SOURCE.length
    assert "12 MiB did not go back to the driver" in caplog.text
    with pytest.raises(OutOfMemory, match="19 MiB of 64 MiB free"):
        backing.place(SOURCE, 20 * MIB)
    card.keeps_what_is_unused = False
    assert backing.used_bytes == CONTEXT_BYTES
    backing.place(SOURCE, 20 * MIB)


def test_memory_that_a_neighbour_takes_at_once_is_no_leak(
    card: ScriptedCard, backing: CudaBacking, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    placement = backing.place(SOURCE, 0)
    card.others_take_what_comes_back = True
    assert placement.vacate() == 0
    assert "12 MiB went back to the driver, but the card does not show them" in caplog.text


def test_a_model_that_runs_meanwhile_does_not_look_like_a_leak(card: ScriptedCard, backing: CudaBacking) -> None:
    placement = backing.place(SOURCE, 0)
    card.activations_bytes = 7 * MIB
    assert placement.vacate() == 0
    assert backing.used_bytes == CONTEXT_BYTES + 7 * MIB


def test_a_copy_that_fails_leaves_nothing(card: ScriptedCard, backing: CudaBacking) -> None:
    card.copy_error = RuntimeError("CUDA error: unspecified launch failure")
    placement = backing.place(SOURCE, 0)
    with pytest.raises(RuntimeError, match="launch failure"):
        placement.fill(all_read(SOURCE.length))
    assert placement.vacate() == 0
    assert backing.used_bytes == CONTEXT_BYTES


def test_a_slab_is_page_locked_once_and_until_it_is_given_up(card: ScriptedCard, backing: CudaBacking) -> None:
    placements: list[Placement] = [backing.place(SOURCE, 0) for _ in range(2)]
    assert list(card.locked.values()) == [SOURCE.length]
    for placement in placements:
        placement.vacate()
    assert card.locked
    backing.unlock(SOURCE)
    backing.unlock(SOURCE)
    assert not card.locked


def test_without_the_engines_word_that_it_will_unlock_nothing_is_locked(card: ScriptedCard, tier: Tier) -> None:
    CudaBacking(card, tier.mapping, LIMIT_BYTES, page_locks=False).place(SOURCE, 0)
    assert not card.locked


def test_pages_that_can_not_be_locked_are_copied_all_the_same_and_that_is_said_once(
    card: ScriptedCard, backing: CudaBacking, caplog: pytest.LogCaptureFixture
) -> None:
    card.lock_refusal = "operation not supported"
    for offset in (0, SOURCE.length):
        backing.place(Region(offset, SOURCE.length), 0)
    assert card.events.count("lock refused") == 1
    assert [record.message for record in caplog.records] == [
        "the driver would not page-lock 12 MiB of the RAM tier: operation not supported;"
        " copies go on from pageable memory, which is slower"
    ]


@pytest.mark.parametrize(
    ("visible", "ordinal", "seen"),
    [
        (None, 1, "1"),
        ("0,2", 1, "2"),
        ("GPU-aa, GPU-bb", 1, "GPU-bb"),
        ("0", 1, ""),
        ("", 0, ""),
    ],
)
def test_a_worker_sees_its_own_card_only(visible: str | None, ordinal: int, seen: str) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    see_only(ordinal, environ)
    assert environ == {"CUDA_VISIBLE_DEVICES": seen}


@pytest.mark.parametrize(("name", "ordinal"), [("cuda:0", 0), ("cuda:12", 12), ("cuda:", None), ("ram", None)])
def test_a_card_is_named_by_its_ordinal(name: str, ordinal: int | None) -> None:
    assert cuda_ordinal(name) == ordinal


def test_a_device_that_can_not_be_used_is_told_without_a_class_name() -> None:
    failure = failure_of(7, DeviceUnusable("CUDA can't be used: no driver. `citadel doctor` says what to do"))
    assert (failure.kind, failure.message) == (
        "device unusable",
        "CUDA can't be used: no driver. `citadel doctor` says what to do",
    )
