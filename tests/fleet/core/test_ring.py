"""Homes: each box's share, and what moves when a box comes or goes."""

from __future__ import annotations

from collections import Counter

import pytest

from fleet.core.ring import Ring
from tests.fleet.core.views import GIB

MODELS = [f"model-{n}" for n in range(3000)]


def homes(boxes: dict[str, int], count: int = 3) -> dict[str, tuple[str, ...]]:
    ring = Ring(boxes)
    return {model: ring.homes(model, count, lambda _: True) for model in MODELS}


@pytest.mark.parametrize("boxes", [6, 20, 100])
def test_a_box_with_twice_the_memory_is_home_of_twice_as_many_models(boxes: int) -> None:
    sizes = {f"b{n}": (1 + n % 2) * 9 * GIB for n in range(boxes)}
    first = Counter(found[0] for found in homes(sizes, 1).values())
    small, large = (sum(first[box] for box in sizes if sizes[box] == gib * GIB) for gib in (9, 18))

    assert large / small == pytest.approx(2.0, rel=0.15)


def test_boxes_that_are_alike_have_like_shares() -> None:
    first = Counter(found[0] for found in homes({f"b{n}": 9 * GIB for n in range(10)}, 1).values())

    assert all(first[f"b{n}"] == pytest.approx(300, rel=0.3) for n in range(10))


def test_a_box_that_comes_moves_only_the_homes_that_it_gets() -> None:
    boxes = {f"b{n}": 9 * GIB for n in range(20)}
    before, after = homes(boxes), homes({**boxes, "new": 18 * GIB})

    for model in MODELS:
        stayed = [box for box in after[model] if box != "new"]
        assert stayed == [*before[model]][: len(stayed)]
    assert 0.05 < sum("new" in found for found in after.values()) / len(MODELS) / 3 < 0.14


def test_a_box_that_may_not_hold_a_model_is_passed_over_as_if_it_had_left() -> None:
    boxes = {f"b{n}": 9 * GIB for n in range(20)}
    ring, without = Ring(boxes), homes({box: size for box, size in boxes.items() if box != "b7"})

    assert {model: ring.homes(model, 3, lambda box: box != "b7") for model in MODELS} == without


def test_the_only_box_that_may_hold_a_model_is_found_among_thousands() -> None:
    ring = Ring({f"b{n}": 2 * GIB for n in range(2000)})

    assert ring.homes("m", 3, lambda box: box == "b1234") == ("b1234",)
    assert set(ring.homes("m", 3, lambda box: box in ("b3", "b4"))) == {"b3", "b4"}


def test_a_fleet_without_boxes_has_no_homes() -> None:
    assert Ring({}).homes("m", 3, lambda _: True) == ()


def test_a_box_without_a_gpu_may_be_home_too() -> None:
    assert set(Ring({"a": 0, "b": 9 * GIB}).homes("m", 3, lambda _: True)) == {"a", "b"}
