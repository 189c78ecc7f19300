"""`citadel pull`: what is said while a model comes from a hub on loopback, and that it is in the catalog and prepared then."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from citadel_tui.words.pulling import PullProgress
from engine.core.pulling import PullAdvanced, PullBegun, PullCut, Pulled
from engine.core.sizes import MIB
from tests.cli.conftest import Citadel
from tests.pulling.hub import Hub, serving_hub
from tests.runtime.live_engines import CONFIG
from tests.worker.models import write_random_checkpoint


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    write_random_checkpoint("bert", tmp_path / "origin")
    hub = Hub({path.name: path.read_bytes() for path in (tmp_path / "origin").iterdir()})
    monkeypatch.setenv("CITADEL_CONFIG", str(shutil.copytree(CONFIG, tmp_path / "config")))
    monkeypatch.setenv("CUDA_ENABLED", "false")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with serving_hub(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield hub


async def test_one_command_fetches_adds_and_prepares(citadel: Citadel, hub: Hub) -> None:
    hub.cuts = [1000]

    ran = await citadel("pull", "org/model", "--add", "--name", "mine", "--alias", "ada")

    assert ran.status == 0, ran.err
    fetched, added, taken, prepared = ran.out.splitlines()
    assert fetched.startswith("org/model: ")
    assert added.startswith("mine: embedding, float32, ")
    assert taken.startswith("taken from hub:org/model")
    assert prepared.startswith("mine: prepared, ")
    assert "org/model: the line broke" in ran.err


async def test_a_model_that_the_catalog_lacks_is_fetched_and_its_way_in_is_told(citadel: Citadel, hub: Hub) -> None:
    ran = await citadel("pull", "org/model@v2")
    assert ran.status == 0, ran.err
    assert "add it with: citadel models add hub:org/model@v2" in ran.err


async def test_a_name_without_adding_is_no_use_and_says_so(citadel: Citadel, hub: Hub) -> None:
    ran = await citadel("pull", "org/model", "--name", "mine")
    assert (ran.status, "say --add, too" in ran.err) == (2, True)
    assert hub.asked == []


async def test_without_a_configuration_it_is_fetched_all_the_same(
    citadel: Citadel, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CITADEL_CONFIG")
    monkeypatch.chdir(tmp_path / "origin")
    ran = await citadel("pull", "org/model")
    assert ran.status == 0
    assert "add it with: citadel models add hub:org/model" in ran.err


async def test_what_is_to_be_added_needs_a_catalog_of_ones_own_before_anything_is_fetched(
    citadel: Citadel, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CITADEL_CONFIG")
    monkeypatch.chdir(tmp_path / "origin")
    ran = await citadel("pull", "org/model", "--add")
    assert ran.status == 1
    assert "`citadel init` writes one" in ran.err
    assert hub.asked == []


async def test_what_is_wrong_is_one_sentence(citadel: Citadel, hub: Hub) -> None:
    ran = await citadel("pull", "org/other")
    assert ran.status == 1
    assert "has no org/other, or not for you" in ran.err
    assert "Traceback" not in ran.err


def test_bytes_rate_and_the_time_that_is_left_are_told() -> None:
    told = PullProgress("org/model")
    assert told.hear(PullBegun(3, 100 * MIB, 10 * MIB), 0.0) == "org/model: 10 MiB of 100 MiB"
    assert told.hear(PullAdvanced("w", 20 * MIB), 1.0) == "org/model: 20 MiB of 100 MiB, 10 MiB/s, 8 s left"
    for second in range(2, 20):
        line = told.hear(PullAdvanced("w", (20 + second) * MIB), float(second))
    assert line == "org/model: 39 MiB of 100 MiB, 1 MiB/s, 1 min left"
    assert told.share() == 0.39
    assert "the line broke (reset); going on" in told.hear(PullCut("w", "reset"), 20.0)
    assert told.hear(Pulled("f", "c", 1), 21.0) == ""
