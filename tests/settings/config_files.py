"""Configurations for the tests, written to a folder, and what loading them says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from engine.devices.cards import GpuFacts
from engine.devices.inventory import NO_CARDS, Inventory, met
from engine.settings import SettingsError, load_settings

MODEL: Mapping[str, object] = {"name": "minilm", "source": "hub:owner/minilm", "task": "embedding"}


def config_folder(folder: Path, allocation: str = "", *models: Mapping[str, object]) -> Path:
    """`folder` with `allocation` as it stands and a catalog of `models`, each over the fields of MODEL."""
    entries = [{**MODEL, **model} for model in models or ({},)]
    return config_folder_of_texts(folder, allocation, json.dumps({"models": entries}))


def config_folder_of_texts(folder: Path, allocation: str, catalog: str) -> Path:
    (folder / "gpu_allocation.yaml").write_text(allocation, encoding="utf-8")
    (folder / "model_gpu_mapping.json").write_text(catalog, encoding="utf-8")
    return folder


def seen_first(cards: Sequence[GpuFacts]) -> Inventory:
    """What is known of a machine that has these cards, and never had others."""
    return met(NO_CARDS, cards, 1000.0)


def refusals(
    folder: Path,
    environment: Mapping[str, str] | None = None,
    dotenv: Path | None = None,
    cards: Sequence[GpuFacts] = (),
) -> list[str]:
    """What is wrong, one text a problem."""
    with pytest.raises(SettingsError) as caught:
        load_settings(folder, environment or {}, dotenv, seen_first(cards))
    return [problem.text for problem in caught.value.problems]
