"""Cards against torch's architectures, against what the configuration counts on, and what the environment hides."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.sizes import GIB
from engine.doctor.examine import examine
from engine.doctor.machine import Capability, Config, Slice, TorchCard
from engine.doctor.tables import build_for, runs_on
from tests.doctor.machines import (
    GT_1030,
    NEW_ARCHITECTURES,
    NEW_TORCH,
    PASCAL_ARCHITECTURES,
    PASCAL_TORCH,
    SOUND,
    finding,
    with_card,
    with_slices,
)


@pytest.mark.parametrize(
    ("architectures", "card", "runs"),
    [
        (("sm_60",), (6, 1), True),
        (("sm_61",), (6, 0), False),
        (("sm_60",), (7, 0), False),
        (("compute_60",), (7, 5), True),
        (("compute_80",), (7, 5), False),
        (("sm_90a",), (9, 0), True),
        (("sm_100f",), (10, 3), True),
        (("sm_100f",), (12, 0), False),
        (("sm_100a",), (10, 3), False),
        (("sm_120",), (12, 1), True),
        (("gfx90a",), (9, 0), False),
        (PASCAL_ARCHITECTURES, (6, 1), True),
        (NEW_ARCHITECTURES, (6, 1), False),
        (NEW_ARCHITECTURES, (7, 0), False),
        ((), (8, 0), False),
    ],
)
def test_a_card_runs_code_of_its_own_generation_and_intermediate_code_of_older_ones(
    architectures: tuple[str, ...], card: Capability, runs: bool
) -> None:
    assert runs_on(architectures, card) is runs


@pytest.mark.parametrize(
    ("cards", "cuda", "requirement"),
    [
        ([(7, 5)], None, "torch>=2.11"),
        ([(12, 0)], None, "torch>=2.11"),
        ([(8, 6)], 12, "torch==2.10.0"),
        ([(7, 0)], None, "torch==2.10.0"),
        ([(6, 1)], None, "torch==2.7.1"),
        ([(6, 1), (8, 6)], None, "torch==2.7.1"),
        ([(6, 1), (12, 0)], None, None),
        ([(3, 5)], None, None),
        ([(12, 0)], 11, None),
    ],
)
def test_the_newest_torch_for_all_cards_and_the_driver_is_known(
    cards: list[Capability], cuda: int | None, requirement: str | None
) -> None:
    build = build_for(cards, cuda)
    assert (build.requirement if build else None) == requirement


def test_a_gt_1030_with_the_right_torch_can_run_a_model() -> None:
    examination = examine(SOUND)
    assert examination.can_run_on_gpu
    assert examination.answer == "a model could run on gpu0 (NVIDIA GeForce GT 1030)"
    assert {each.status for each in examination.findings} == {"ok", "not applicable"}
    assert "Stay on driver branch 580" in finding(SOUND, "gpu0.architecture").means


def test_a_gt_1030_with_a_new_torch_is_told_the_last_one_that_carries_it() -> None:
    failing = TorchCard(GT_1030.name, (6, 1), 2 * GIB, "CUDA error: no kernel image is available for execution")
    machine = replace(SOUND, torch=replace(NEW_TORCH, cards=(failing,)))
    card = finding(machine, "gpu0.architecture")
    assert card.status == "problem"
    assert card.found.startswith("compute capability 6.1 (Pascal): torch 2.13.0 was built for sm_75, sm_80")
    assert (
        "torch 2.7.1 with CUDA 12.6 is the last on PyPI for this card (its sm_60 code runs on 6.1, too)" in card.means
    )
    assert "driver branch 580 the last" in card.means
    assert card.fix == (
        '`/srv/citadel/.venv/bin/python -m pip install --force-reinstall "torch==2.7.1"`, '
        "or `make run PASCAL=1` in the checkout"
    )
    assert "no kernel image" in finding(machine, "gpu0.compute").found
    assert examine(machine).answer == "no model could run on a GPU here; in the way: gpu0.architecture, gpu0.compute"


def test_a_python_without_a_wheel_of_the_old_torch_is_named() -> None:
    machine = replace(SOUND, torch=NEW_TORCH, host=replace(SOUND.host, python=(3, 14, 1)))
    fix = finding(machine, "gpu0.architecture").fix
    assert "no wheel for this Python" in fix
    assert "`make clean run PASCAL=1 PYTHON=python3.13`" in fix


def test_a_card_older_than_any_torch_has_no_install_line() -> None:
    machine = with_card(SOUND, replace(GT_1030, capability=(3, 5)))
    assert "No torch on PyPI" in finding(machine, "gpu0.architecture").means


def test_one_lost_card_does_not_take_the_answer_from_the_other() -> None:
    lost = replace(GT_1030, health="lost", reason="the driver says that the card is lost")
    other = replace(GT_1030, number=1, ordinal=1, uuid="GPU-2")
    machine = replace(SOUND, cards=(lost, other), torch=replace(PASCAL_TORCH, cards=PASCAL_TORCH.cards * 2))
    assert "is lost: the driver says" in finding(machine, "gpu0.health").found
    assert examine(machine).answer == "a model could run on gpu1 (NVIDIA GeForce GT 1030)"


def test_a_card_that_torch_does_not_see_can_not_be_used() -> None:
    machine = replace(SOUND, torch=replace(PASCAL_TORCH, cards=()))
    assert finding(machine, "gpu0.compute").found == "torch does not see this card"


def test_a_retail_card_has_less_memory_than_the_reference_box_says() -> None:
    memory = finding(SOUND, "gpu0.memory")
    assert (memory.status, memory.found) == ("ok", "2.0 GiB in total, not sliced")
    assert "A GT 1030 as sold has 2 GB" in memory.means
    assert finding(with_card(SOUND, replace(GT_1030, total_bytes=6 * GIB)), "gpu0.memory").means == ""


def test_slices_are_counted_on_their_card_whatever_number_the_environment_gives_it() -> None:
    on_card = (Slice("gpu0", "cuda:3", GIB, GT_1030.uuid), Slice("gpu1", "cuda:3", GIB, GT_1030.uuid))
    machine = with_slices(SOUND, *on_card, Slice("gpu2", "ram", GIB), Slice("gpu3", "cuda:0", GIB, "GPU-other"))
    assert finding(machine, "gpu0.memory").found == "2.0 GiB in total, 2.0 GiB of it in 2 slices"


def test_a_card_that_does_not_tell_its_memory_is_not_taken_for_one_without() -> None:
    assert finding(with_card(SOUND, replace(GT_1030, total_bytes=None)), "gpu0.memory").status == "warning"


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (Config(cuda_enabled=False), "CUDA_ENABLED is false"),
        (Config(cuda_visible_devices=""), "CUDA_VISIBLE_DEVICES= hides all cards"),
    ],
)
def test_cards_hidden_by_the_environment_are_no_mystery(config: Config, found: str) -> None:
    machine = replace(SOUND, cards=(), hidden_cards=1, config=config)
    assert finding(machine, "visible").found == found
    assert examine(machine).answer == "no model could run on a GPU here; in the way: visible"
