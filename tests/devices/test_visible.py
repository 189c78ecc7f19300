"""CUDA_VISIBLE_DEVICES means here what it means to CUDA."""

from __future__ import annotations

import pytest

from engine.devices.cards import GpuFacts
from engine.devices.visible import visible


def _card(index: int, uuid: str, **more: bool | str) -> GpuFacts:
    return GpuFacts(index, uuid, "card", 1, 0, (6, 1), None, None, None, None, None, **more)  # type: ignore[arg-type]


CARDS = (_card(0, "GPU-aa1"), _card(1, "GPU-aa2"), _card(2, "GPU-b"))
PARTITIONED = (
    _card(0, "GPU-aa1"),
    _card(1, "GPU-aa2", is_partitioned=True),
    _card(1, "MIG-x1", is_mig=True, parent_uuid="GPU-aa2"),
    _card(1, "MIG-x2", is_mig=True, parent_uuid="GPU-aa2"),
)


@pytest.mark.parametrize(
    ("variable", "shown"),
    [
        (None, ["GPU-aa1", "GPU-aa2", "GPU-b"]),
        ("", []),
        ("-1", []),
        ("2,0", ["GPU-b", "GPU-aa1"]),
        (" 1 , 2", ["GPU-aa2", "GPU-b"]),
        ("1,-1,2", ["GPU-aa2"]),
        ("0,7,1", ["GPU-aa1"]),
        ("1st,2nd", ["GPU-aa2", "GPU-b"]),
        ("0,0", []),
        ("none", []),
        ("GPU-b,GPU-aa1", ["GPU-b", "GPU-aa1"]),
        ("GPU-b,GPU-aa", ["GPU-b"]),
        ("GPU-zz,GPU-b", []),
        ("GPU-b,0", ["GPU-b"]),
        ("0,GPU-b", ["GPU-aa1"]),
        ("GPU-b,GPU-b", []),
    ],
)
def test_the_variable_picks_and_orders_cards_as_cuda_does(variable: str | None, shown: list[str]) -> None:
    assert [card.uuid for card in visible(CARDS, variable)] == shown


@pytest.mark.parametrize(
    ("variable", "shown"),
    [
        (None, ["MIG-x1"]),
        ("0", ["GPU-aa1"]),
        ("1", ["MIG-x1"]),
        ("MIG-x2", ["MIG-x2"]),
        ("MIG-x2,MIG-x1", ["MIG-x2"]),
        ("MIG-x", []),
        ("GPU-aa1", ["GPU-aa1"]),
    ],
)
def test_a_process_sees_whole_cards_or_one_mig_device(variable: str | None, shown: list[str]) -> None:
    assert [card.uuid for card in visible(PARTITIONED, variable)] == shown


def test_a_card_in_mig_mode_without_mig_devices_can_not_be_used() -> None:
    assert visible((PARTITIONED[0], PARTITIONED[1]), None) == (PARTITIONED[0],)
