"""Copy rates are kept for one card, driver and torch; which number formats are fast follows from the capability."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.core.sizes import MIB
from engine.doctor.gpus import CardRates, measured, recalled
from engine.doctor.machine import Capability
from engine.doctor.tables import fast_dtypes
from engine.recording.copy_rates import Circumstances, CopyRates, keep_rates, recall
from tests.doctor.machines import GT_1030

RATES = CopyRates(256 * MIB, 3.2e9, 1.6e9, 3.3e9, 1.5e9)
HERE = Circumstances("GPU-1030", "580.95.05", "2.7.1")
PROGRAM = """
import sys
sys.stdout.write('[{"rates": {"size_bytes": 8, "to_card_pinned": 4.0, "to_card_pageable": 3.0,'
    ' "from_card_pinned": 2.0, "from_card_pageable": 1.0}}, {"trouble": "only 2 MiB are free on the card"}]')
"""


@pytest.mark.parametrize(
    ("card", "dtypes"),
    [
        ((5, 2), ("float32",)),
        ((6, 0), ("float32", "float16")),
        ((6, 1), ("float32", "int8")),
        ((7, 0), ("float32", "float16", "int8")),
        ((7, 5), ("float32", "float16", "int8")),
        ((8, 6), ("float32", "tf32", "float16", "bfloat16", "int8")),
        ((8, 9), ("float32", "tf32", "float16", "bfloat16", "int8", "float8")),
        ((9, 0), ("float32", "tf32", "float16", "bfloat16", "int8", "float8")),
        ((12, 0), ("float32", "tf32", "float16", "bfloat16", "int8", "float8", "float4")),
    ],
)
def test_the_formats_that_a_card_computes_fast(card: Capability, dtypes: tuple[str, ...]) -> None:
    assert fast_dtypes(card) == dtypes


def test_rates_come_back_in_the_circumstances_that_they_were_measured_in(tmp_path: Path) -> None:
    kept = keep_rates(tmp_path, HERE, RATES, 1000.0)
    assert recall(tmp_path, HERE) == kept
    for changed in (replace(HERE, uuid="GPU-2"), replace(HERE, driver="590.1"), replace(HERE, torch="2.13.0")):
        assert recall(tmp_path, changed) is None


def test_a_damaged_record_is_no_record(tmp_path: Path) -> None:
    keep_rates(tmp_path, HERE, RATES, 1000.0)
    (path,) = (tmp_path / "copy-rates").iterdir()
    path.write_text("{")
    assert recall(tmp_path, HERE) is None


def test_a_card_that_was_never_measured_says_so(tmp_path: Path) -> None:
    assert recalled([GT_1030], "580.95.05", tmp_path) == [CardRates(None, None, "not measured")]


async def test_each_card_is_measured_or_says_why_not(tmp_path: Path) -> None:
    (tmp_path / "two_cards.py").write_text(PROGRAM)
    cards = [
        GT_1030,
        replace(GT_1030, number=1, ordinal=1, uuid="GPU-2"),
        replace(GT_1030, number=2, ordinal=2, uuid="GPU-3"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    new = await measured(cards, "580", tmp_path, environment, now_s=1000.0, program="two_cards")
    assert [each.rates.to_card_pinned if each.rates else each.trouble for each in new] == [
        4.0,
        "not measured: only 2 MiB are free on the card",
        "not measured: torch does not see this card",
    ]
    assert [each.measured_at_s for each in recalled(cards, "580", tmp_path)] == [1000.0, None, None]


async def test_a_measurement_that_fails_is_told_for_every_card(tmp_path: Path) -> None:
    (rates,) = await measured([GT_1030], "580", tmp_path, os.environ, now_s=1000.0, program="no_such_program")
    assert rates.trouble.startswith("not measured: it ended with status 1")
