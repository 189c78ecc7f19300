"""Without virtual GPUs in the file, the devices are the cards that CUDA_VISIBLE_DEVICES leaves, each by a name that it keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.devices import DeviceSpec
from engine.core.sizes import GIB, MIB
from engine.devices.cards import GpuFacts
from engine.settings import CardSpec, Settings, VirtualGpu, device_specs, load_settings
from tests.settings.config_files import config_folder, refusals, seen_first
from tests.settings.nvidia_cards import MIG_1, MIG_2, PARTITIONED, RESERVED, TWO_CARDS, A, card


def on(folder: Path, cards: tuple[GpuFacts, ...], visible: str | None = None, allocation: str = "") -> Settings:
    """The settings of a machine with `cards` and, when given, `visible` in CUDA_VISIBLE_DEVICES."""
    return load_settings(config_folder(folder, allocation), _environment(visible), None, seen_first(cards))


def _environment(visible: str | None) -> dict[str, str]:
    return {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}


def test_cards_become_devices_without_what_the_driver_keeps_for_itself(tmp_path: Path) -> None:
    settings = on(tmp_path, TWO_CARDS)

    first = CardSpec("GPU-a", "NVIDIA card a", 12 * GIB - RESERVED, 0, (8, 0))
    second = CardSpec("GPU-b", "NVIDIA card b", 8 * GIB - RESERVED, 1, (8, 0))
    assert settings.gpus == {"gpu0": first, "gpu1": second}
    assert settings.cards == {0: first, 1: second}
    assert settings.card_uuids == {"gpu0": "GPU-a", "gpu1": "GPU-b"}
    assert settings.warnings == ()


def test_a_card_without_a_driver_reserve_has_all_its_memory(tmp_path: Path) -> None:
    (mig,) = on(tmp_path, (PARTITIONED, MIG_1)).cards.values()

    assert mig.memory_bytes == 5 * GIB


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        ("1,0", {"gpu0": "GPU-a", "gpu1": "GPU-b"}),
        (" 1", {"gpu1": "GPU-b"}),
        ("GPU-b", {"gpu1": "GPU-b"}),
        ("0,-1,1", {"gpu0": "GPU-a"}),
        ("-1,0", {}),
        ("", {}),
        ("-1", {}),
    ],
)
def test_the_environment_picks_cards_as_cuda_does_and_each_keeps_its_name(
    tmp_path: Path, visible: str, uuids: dict[str, str]
) -> None:
    assert on(tmp_path, TWO_CARDS, visible).card_uuids == uuids


def test_a_device_names_its_card_by_the_place_on_the_bus_whatever_the_environment_hides(tmp_path: Path) -> None:
    specs = device_specs(on(tmp_path, TWO_CARDS, "1", "memory_fraction: 0.5"), 4 * GIB)

    size = 8 * GIB - RESERVED
    assert specs[0] == DeviceSpec("gpu1", "NVIDIA card b", "gpu", "cuda:1", size, 0.5, "GPU-b", is_whole_card=True)
    assert [spec.id for spec in specs] == ["gpu1", "cpu"]


@pytest.mark.parametrize(
    "visible", ["2", "0,2", "0,0", "GPU-c", "GPU-a,GPU-c", "GPU-a,1", "0,GPU-b", "GPU-a, GPU-b", "0,"]
)
def test_a_choice_that_cuda_would_cut_short_in_silence_is_refused_with_what_there_is(
    tmp_path: Path, visible: str
) -> None:
    (problem,) = refusals(config_folder(tmp_path), _environment(visible), cards=TWO_CARDS)

    assert problem == (
        f"environment: CUDA_VISIBLE_DEVICES: {visible!r} is given; allowed: 0, 1; or GPU-a, GPU-b; "
        "each at most once, with commas and no spaces between; empty for no GPU"
    )


def test_a_card_in_mig_mode_is_left_to_its_mig_devices(tmp_path: Path) -> None:
    settings = on(tmp_path, (A, PARTITIONED, MIG_1, MIG_2), "MIG-2")

    assert {n: c.uuid for n, c in settings.cards.items()} == {0: "GPU-a", 1: "MIG-1", 2: "MIG-2"}
    assert settings.card_uuids == {"gpu2": "MIG-2"}
    assert device_specs(settings, 4 * GIB)[0].backing == "cuda:2"


def test_mig_devices_that_cuda_does_not_show_together_are_refused(tmp_path: Path) -> None:
    cards = (A, PARTITIONED, MIG_1, MIG_2)

    (problem,) = refusals(config_folder(tmp_path), _environment("MIG-1,MIG-2"), cards=cards)

    assert "'MIG-1,MIG-2' is given; allowed: 0; or GPU-a; or one alone of MIG-1, MIG-2; each at most once" in problem


def test_a_card_that_can_run_no_model_is_left_out_with_the_reason(tmp_path: Path) -> None:
    settings = on(tmp_path, (card(0, "GPU-x", None), PARTITIONED, card(2, "GPU-c")))

    assert {n: c.uuid for n, c in settings.cards.items()} == {1: "GPU-c"}
    assert settings.warnings == (
        "NVIDIA card x (GPU-x) does not tell how much memory it has; it is not used",
        "NVIDIA card p (GPU-p) is in MIG mode without a MIG device and runs no model; make one, or switch MIG mode off",
    )


def test_a_card_that_can_run_no_model_has_a_number_all_the_same(tmp_path: Path) -> None:
    settings = on(tmp_path, (card(0, "GPU-x", None), card(1, "GPU-c")))

    assert settings.card_uuids == {"gpu1": "GPU-c"}


@pytest.mark.parametrize("cards", [(), (PARTITIONED,)])
def test_without_a_card_that_can_run_models_there_are_two_virtual_gpus_in_host_ram(
    tmp_path: Path, cards: tuple[GpuFacts, ...]
) -> None:
    settings = on(tmp_path, cards)

    assert [(gpu.memory_bytes, gpu.backing) for gpu in settings.gpus.values()] == [(640 * MIB, "ram")] * 2
    assert settings.card_uuids == {}
    assert len(settings.warnings) == len(cards)


def test_virtual_gpus_of_the_file_go_before_cards(tmp_path: Path) -> None:
    settings = on(tmp_path, TWO_CARDS, "1", "devices: {virtual: [{memory: 1GiB}, {memory: 2GiB}]}")

    assert {name: gpu.memory_bytes for name, gpu in settings.gpus.items()} == {"gpu1": 2 * GIB}
    assert all(isinstance(gpu, VirtualGpu) for gpu in settings.gpus.values())
    assert on(tmp_path, TWO_CARDS, None, "devices: {virtual: []}").gpus == {}


def test_the_catalog_may_name_the_cards_and_no_others(tmp_path: Path) -> None:
    folder = config_folder(tmp_path, "", {"pin": "gpu2"})

    (problem,) = refusals(folder, cards=TWO_CARDS)

    assert "pin: 'gpu2' is given; allowed: gpu0, gpu1, cpu" in problem


def test_a_model_meant_for_a_hidden_card_goes_where_there_is_room(tmp_path: Path) -> None:
    settings = load_settings(
        config_folder(tmp_path, "", {"pin": "gpu1"}), _environment("0"), None, seen_first(TWO_CARDS)
    )

    assert settings.warnings == (
        "minilm is meant for gpu1, which the environment hides or which can run no model; it goes where there is room",
    )


def test_switching_cuda_off_helps_where_the_driver_is_broken_and_cards_can_not_be_counted(tmp_path: Path) -> None:
    folder = config_folder(tmp_path, "", {"pin": "gpu3"})

    settings = load_settings(folder, {"CUDA_ENABLED": "false"}, None)

    assert settings.gpus == {}
    assert "meant for gpu3" in settings.warnings[0]
