"""Cards that were there and are not are GPUs like the others: nothing takes their names, nothing is refused for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.models import Pin
from engine.core.sizes import GIB
from engine.devices.cards import GpuFacts
from engine.devices.inventory import met
from engine.settings import CardSpec, Settings, device_specs, load_settings
from tests.settings.config_files import config_folder, seen_first
from tests.settings.nvidia_cards import MIG_1, MIG_2, PARTITIONED, A, B, card

C = card(2, "GPU-c")


def on(
    folder: Path, found: tuple[GpuFacts, ...], visible: str | None = None, allocation: str = "", **model: object
) -> Settings:
    """The settings of a machine that had all three, of which the driver now lists those that were `found`."""
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    inventory = met(seen_first((A, B, C)), found, 2000.0)
    return load_settings(config_folder(folder, allocation, model), environment, None, inventory)


def lost(settings: Settings) -> dict[str, float]:
    """Which of the devices are lost, and since when."""
    cards = {name: gpu for name, gpu in settings.gpus.items() if isinstance(gpu, CardSpec)}
    return {name: card.lost_since_s for name, card in cards.items() if card.lost_since_s is not None}


def test_a_lost_card_is_a_device_with_the_memory_that_it_had(tmp_path: Path) -> None:
    settings = on(tmp_path, (A, C), pin="gpu1")

    assert settings.card_uuids == {"gpu0": "GPU-a", "gpu1": "GPU-b", "gpu2": "GPU-c"}
    assert lost(settings) == {"gpu1": 1000.0}
    assert device_specs(settings, 4 * GIB)[1].total_bytes == on(tmp_path, (A, B, C)).cards[1].memory_bytes
    assert settings.models[0].pin == Pin("gpu1")
    assert settings.warnings == ()


def test_where_the_driver_lists_nobody_the_cards_are_lost_and_no_virtual_gpu_takes_their_names(tmp_path: Path) -> None:
    settings = on(tmp_path, ())

    assert lost(settings) == dict.fromkeys(("gpu0", "gpu1", "gpu2"), 1000.0)


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        ("0,2", {"gpu0": "GPU-a", "gpu2": "GPU-c"}),
        ("1", {"gpu1": "GPU-b"}),
        ("GPU-b,GPU-c", {"gpu1": "GPU-b", "gpu2": "GPU-c"}),
    ],
)
def test_the_environment_means_the_same_cards_while_one_is_lost(
    tmp_path: Path, visible: str, uuids: dict[str, str]
) -> None:
    assert on(tmp_path, (A, C), visible).card_uuids == uuids


def test_a_slice_of_a_lost_card_stays_and_is_of_the_same_card(tmp_path: Path) -> None:
    slices = "devices: {virtual: [{backing: cuda:1, memory: 1GiB}, {backing: cuda:2, memory: 2GiB}]}"

    assert on(tmp_path, (A, C), None, slices).card_uuids == {"gpu0": "GPU-b", "gpu1": "GPU-c"}


def test_a_lost_mig_device_keeps_its_row_and_another_one_of_its_card_is_used(tmp_path: Path) -> None:
    inventory = met(seen_first((A, PARTITIONED, MIG_1, MIG_2)), (A, PARTITIONED, MIG_2), 2000.0)
    settings = load_settings(config_folder(tmp_path), {"CUDA_VISIBLE_DEVICES": "1"}, None, inventory)

    assert settings.card_uuids == {"gpu1": "MIG-1", "gpu2": "MIG-2"}
    assert lost(settings) == {"gpu1": 1000.0}
