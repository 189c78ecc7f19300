"""What counts as others' memory: only what two readings agree on, and never what one of our processes held a moment ago."""

from __future__ import annotations

import pytest

from engine.core.devices import Health
from engine.core.sizes import GIB, MIB
from engine.devices.cards import Activity, GpuMemory, GpuProcess, GpuSample
from engine.devices.readings import SETTLED_WITHIN_BYTES, settled_external

OURS = 100


def _sample(
    at_s: float,
    used_bytes: int,
    *processes: tuple[int, int | None],
    listed_at_s: float | None = None,
    health: Health = "ok",
) -> GpuSample:
    """A reading of memory; with a list of processes when `listed_at_s` is given."""
    memory = GpuMemory(6 * GIB, used_bytes, 6 * GIB - used_bytes, 0)
    listed = tuple(GpuProcess(pid, None, held) for pid, held in processes)
    activity = Activity() if listed_at_s is None else Activity(processes=listed)
    return GpuSample("GPU-1", health, "", memory, activity, at_s, listed_at_s)


def test_without_a_list_all_that_we_do_not_hold_is_others() -> None:
    assert settled_external(_sample(1, 3 * GIB), _sample(2, 3 * GIB), 1 * GIB, {OURS}) == 2 * GIB


def test_the_drivers_account_of_us_is_heard_when_it_is_the_greater() -> None:
    """It knows what our own account may miss: what libraries allocate beside PyTorch."""
    before = _sample(1, 3 * GIB, (OURS, 1300 * MIB), (7, GIB), listed_at_s=1)
    assert settled_external(before, _sample(2, 3 * GIB), 1 * GIB, {OURS}) == 3 * GIB - 1300 * MIB


def test_an_old_list_is_not_heard() -> None:
    """We have given memory back since; others' did not shrink by it."""
    before = _sample(4, 2 * GIB, (OURS, 2 * GIB), listed_at_s=1)
    assert settled_external(before, _sample(5, 2 * GIB), 0, {OURS}) == 2 * GIB


def test_in_a_container_that_lists_other_numbers_our_own_account_counts() -> None:
    before = _sample(1, 3 * GIB, (90_100, 2 * GIB), listed_at_s=1)
    assert settled_external(before, _sample(2, 3 * GIB), 2 * GIB, {OURS}) == 1 * GIB


def test_a_list_without_figures_leaves_our_own_account() -> None:
    before = _sample(1, 3 * GIB, (OURS, None), listed_at_s=1)
    assert settled_external(before, _sample(2, 3 * GIB), 2 * GIB, {OURS}) == 1 * GIB


def test_memory_of_a_process_that_exits_between_two_queries_never_looks_like_others() -> None:
    """Our worker ends after memory was read and before the list is: its 2 GiB are in the figure and in no list."""
    samples = [
        _sample(1, 3 * GIB, (OURS, 2 * GIB), listed_at_s=1),
        _sample(2, 3 * GIB, listed_at_s=2),
        _sample(3, 1 * GIB, listed_at_s=2),
        _sample(4, 1 * GIB, listed_at_s=2),
    ]
    said = [
        settled_external(before, now, our_bytes, {OURS})
        for before, now, our_bytes in zip(samples, samples[1:], (2 * GIB, 0, 0), strict=False)
    ]
    assert said == [1 * GIB, None, 1 * GIB]


@pytest.mark.parametrize(("first", "then"), [(0, 10), (10, 0), (10, 10)])
@pytest.mark.parametrize("said_mib", [0, 5, 300])
def test_a_little_that_moved_beside_the_list_may_be_ours(first: int, then: int, said_mib: int) -> None:
    """Our worker takes or gives back 10 MiB between the two readings, of which the list may know or not."""
    ours_mib = 1000
    listed = ((OURS, ours_mib * MIB),)
    before = _sample(1, (ours_mib + said_mib + first) * MIB, *listed, listed_at_s=1)
    now = _sample(2, (ours_mib + said_mib + then) * MIB, *listed, listed_at_s=1)
    told = settled_external(before, now, None, {OURS}, said_mib * MIB)
    assert told == (said_mib + min(first, then)) * MIB


@pytest.mark.parametrize(("said_mib", "told_mib"), [(None, 200), (0, 200), (205, 205), (900, 210)])
def test_what_was_said_of_others_is_kept_where_either_reading_has_room_for_it(
    said_mib: int | None, told_mib: int
) -> None:
    before = _sample(1, 1200 * MIB, (OURS, 1000 * MIB), listed_at_s=1)
    now = _sample(2, 1210 * MIB, (OURS, 1000 * MIB), listed_at_s=1)
    said_bytes = None if said_mib is None else said_mib * MIB
    assert settled_external(before, now, None, {OURS}, said_bytes) == told_mib * MIB


@pytest.mark.parametrize("moved_bytes", [SETTLED_WITHIN_BYTES + 1, -SETTLED_WITHIN_BYTES - 1])
def test_nothing_is_said_while_memory_moves(moved_bytes: int) -> None:
    assert settled_external(_sample(1, 3 * GIB), _sample(2, 3 * GIB + moved_bytes), 0, set()) is None


def test_the_small_moves_of_a_desktop_are_no_unrest() -> None:
    assert settled_external(_sample(1, 3 * GIB), _sample(2, 3 * GIB + 6 * MIB), 0, set()) == 3 * GIB + 6 * MIB


def test_it_is_never_less_than_nothing() -> None:
    assert settled_external(_sample(1, 1 * GIB), _sample(2, 1 * GIB), 2 * GIB, set()) == 0


@pytest.mark.parametrize("health", ["stale", "starting"])
def test_nothing_is_said_from_figures_that_are_not_fresh(health: Health) -> None:
    assert settled_external(_sample(1, 3 * GIB), _sample(1, 3 * GIB, health=health), 0, set()) is None


def test_nothing_is_said_without_figures() -> None:
    assert settled_external(GpuSample("GPU-1", "lost", "why"), _sample(2, 3 * GIB), 0, set()) is None
