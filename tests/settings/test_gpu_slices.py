"""Slices of a card: where they may lie, how large they may be together, and which of them the environment hides."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.devices import DeviceSpec
from engine.core.sizes import GIB, MIB
from engine.devices.cards import GpuFacts
from engine.settings import Settings, device_specs, load_settings
from tests.settings.config_files import config_folder, refusals, seen_first
from tests.settings.nvidia_cards import MIG_1, MIG_2, PARTITIONED, TWO_CARDS, A, B, card

REFERENCE_BOX = 'devices: {virtual: [{backing: "cuda:0", memory: 6GiB}, {backing: "cuda:0", memory: 6GiB}]}'
ON_EACH = "devices: {virtual: [{backing: cuda:0, memory: 1GiB}, {backing: cuda:1, memory: 2GiB}, {memory: 3GiB}]}"
LARGE = (card(0, "GPU-l", 16 * GIB),)


def on(folder: Path, cards: tuple[GpuFacts, ...], allocation: str, **environment: str) -> Settings:
    return load_settings(config_folder(folder, allocation), environment, None, seen_first(cards))


def test_one_large_card_makes_the_reference_box(tmp_path: Path) -> None:
    settings = on(tmp_path, LARGE, REFERENCE_BOX)

    *gpus, _ = device_specs(settings, 4 * GIB)

    assert gpus == [
        DeviceSpec(name, "slice of NVIDIA card l", "gpu", "cuda:0", 6 * GIB, 0.8, "GPU-l") for name in ("gpu0", "gpu1")
    ]
    assert settings.card_uuids == {"gpu0": "GPU-l", "gpu1": "GPU-l"}


def test_slices_of_cards_and_of_host_ram_go_together(tmp_path: Path) -> None:
    settings = on(tmp_path, TWO_CARDS, ON_EACH)

    *gpus, _ = device_specs(settings, 8 * GIB)

    assert [(gpu.title, gpu.backing) for gpu in gpus] == [
        ("slice of NVIDIA card a", "cuda:0"),
        ("slice of NVIDIA card b", "cuda:1"),
        ("virtual GPU in host RAM", "ram"),
    ]
    assert settings.card_uuids == {"gpu0": "GPU-a", "gpu1": "GPU-b"}


def test_slices_of_cards_take_nothing_of_the_host(tmp_path: Path) -> None:
    settings = on(tmp_path, LARGE, REFERENCE_BOX)

    assert len(device_specs(settings, 2 * GIB)) == 3


def test_a_slice_of_a_card_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    (problem,) = refusals(config_folder(tmp_path, ON_EACH), cards=(A,))

    assert problem == (
        "gpu_allocation.yaml: devices.virtual[1].backing: 'cuda:1' is given, "
        "but only 1 NVIDIA card here can run models; allowed: ram, cuda:0"
    )


@pytest.mark.parametrize("cards", [(), (PARTITIONED,)])
def test_slices_without_any_card_are_refused_with_where_to_ask_why(tmp_path: Path, cards: tuple[GpuFacts, ...]) -> None:
    first, second = refusals(config_folder(tmp_path, REFERENCE_BOX), {"CUDA_VISIBLE_DEVICES": "0"}, cards=cards)

    assert first == (
        "gpu_allocation.yaml: devices.virtual[0].backing: 'cuda:0' is given, but no NVIDIA driver was found, or it shows "
        "no card that can run models; allowed: ram; citadel doctor says what is missing"
    )
    assert "devices.virtual[1].backing" in second


def test_slices_that_exceed_their_card_together_are_refused_with_figures(tmp_path: Path) -> None:
    (problem,) = refusals(config_folder(tmp_path, REFERENCE_BOX), cards=TWO_CARDS)

    assert problem == (
        "gpu_allocation.yaml: devices.virtual: gpu0, gpu1 take 12288 MiB of cuda:0 together; "
        "allowed: at most 12032 MiB, which is all that NVIDIA card a has for models; 6016MiB each would fit"
    )


def test_slices_may_take_their_card_to_the_last_byte(tmp_path: Path) -> None:
    half = (12 * GIB - 256 * MIB) // 2 // MIB
    slices = f"devices: {{virtual: [{{backing: cuda:0, memory: {half}MiB}}, {{backing: cuda:0, memory: {half}MiB}}]}}"

    assert len(on(tmp_path, (A,), slices).gpus) == 2


@pytest.mark.parametrize(
    ("visible", "left"),
    [
        ("0", ["gpu0", "gpu2"]),
        ("1", ["gpu1", "gpu2"]),
        ("GPU-b", ["gpu1", "gpu2"]),
        ("1,0", ["gpu0", "gpu1", "gpu2"]),
        ("", []),
    ],
)
def test_the_environment_selects_cards_and_slices_keep_their_names(
    tmp_path: Path, visible: str, left: list[str]
) -> None:
    assert list(on(tmp_path, TWO_CARDS, ON_EACH, CUDA_VISIBLE_DEVICES=visible).gpus) == left


def test_a_choice_of_cards_that_are_not_there_is_refused(tmp_path: Path) -> None:
    (problem,) = refusals(config_folder(tmp_path, ON_EACH), {"CUDA_VISIBLE_DEVICES": "2"}, cards=TWO_CARDS)

    assert problem.startswith("environment: CUDA_VISIBLE_DEVICES: '2' is given; allowed: 0, 1; or GPU-a, GPU-b; each")


def test_mig_devices_can_be_sliced_and_their_card_can_not(tmp_path: Path) -> None:
    settings = on(tmp_path, (B, PARTITIONED, MIG_1, MIG_2), "devices: {virtual: [{backing: cuda:2, memory: 5GiB}]}")

    assert settings.card_uuids == {"gpu0": "MIG-2"}


@pytest.mark.parametrize("off", [{"CUDA_ENABLED": "false"}, {"CUDA_VISIBLE_DEVICES": ""}])
def test_switching_cuda_off_helps_where_the_driver_of_the_slices_is_broken(tmp_path: Path, off: dict[str, str]) -> None:
    assert on(tmp_path, (), REFERENCE_BOX, **off).gpus == {}


@pytest.mark.parametrize("backing", ["cuda", "cuda:", "cuda:-1", "cuda:01", "cuda:٣", "CUDA:0", "gpu0", "ram "])
def test_a_backing_that_is_no_backing_is_refused_with_what_is_one(tmp_path: Path, backing: str) -> None:
    allocation = f'devices: {{virtual: [{{memory: 1GiB, backing: "{backing}"}}]}}'

    (problem,) = refusals(config_folder(tmp_path, allocation), cards=TWO_CARDS)

    assert problem == (
        f"gpu_allocation.yaml: devices.virtual[0].backing: {backing!r} is given; "
        "allowed: ram for host RAM, or cuda:N for the NVIDIA card N, such as cuda:0"
    )
