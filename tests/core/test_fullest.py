"""How full GPUs could have been: the fullest arrangement around each model that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.insight.fullest import fullest


def test_models_that_fill_the_gpus_together_leave_nothing_empty() -> None:
    found = fullest({"a": 3, "b": 1}, {"a": 60, "b": 40}, {"gpu0": 60, "gpu1": 40})

    assert found is not None
    assert found.share == 1.0


def test_a_small_model_that_is_asked_for_keeps_a_large_one_out() -> None:
    found = fullest(
        {"small": 1, "large": 1, "larger": 2}, {"small": 10, "large": 95, "larger": 100}, {"gpu0": 100, "gpu1": 100}
    )

    assert found is not None
    # 10 and 100 of 200 with the small one; else 95 and 100
    assert (found.model, found.model_share, found.room_bytes) == ("small", 0.55, 90)
    assert found.share == pytest.approx((0.55 + 3 * 0.975) / 4)


def test_what_fits_no_gpu_does_not_count() -> None:
    assert fullest({"huge": 1}, {"huge": 200}, {"gpu0": 100}) is None
    assert fullest({}, {}, {"gpu0": 100}) is None
    assert fullest({"unknown": 1}, {}, {"gpu0": 100}) is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(5, 60), min_size=1, max_size=4), st.lists(st.integers(60, 100), min_size=1, max_size=2))
def test_no_arrangement_that_has_the_model_is_fuller(sizes: list[int], rooms: list[int]) -> None:
    models = {f"m{number}": size for number, size in enumerate(sizes)}
    budgets = {f"gpu{number}": room for number, room in enumerate(rooms)}

    found = fullest(dict.fromkeys(models, 1), models, budgets)

    assert found is not None
    by_hand = [max(_shares(name, models, budgets)) for name in models]
    assert found.share == pytest.approx(sum(by_hand) / len(by_hand))


def _shares(model: str, sizes: dict[str, int], budgets: dict[str, int]) -> Iterator[float]:
    for places in product([None, *budgets], repeat=len(sizes)):
        where = dict(zip(sizes, places, strict=True))
        used = {device: sum(sizes[m] for m, d in where.items() if d == device) for device in budgets}
        if where[model] is not None and all(used[device] <= budgets[device] for device in budgets):
            yield sum(used.values()) / sum(budgets.values())
