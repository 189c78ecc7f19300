"""Models of one's own from the palette: added from a folder, fetched from a hub, and the catalog read again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from engine.core.catalog import CatalogChange, without_model
from engine.settings.catalog import CATALOG_FILE
from tests.pulling.hub import Hub, serving_hub
from tests.runtime.live_engines import CONFIG
from tests.scripted_engine import ScriptedEngine
from tests.tui.consoles import open_console
from tests.weights.checkpoints import BERT_CONFIG, write_checkpoint


@pytest.fixture
def engine(tmp_path: Path) -> ScriptedEngine:
    """One that runs on a configuration which the test may change."""
    found = ScriptedEngine()
    found.config = str(shutil.copytree(CONFIG, tmp_path / "config"))
    return found


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = write_checkpoint(tmp_path / "m")
    (folder / "config.json").write_bytes(msgspec.json.encode(BERT_CONFIG | {"architectures": ["BertModel"]}))
    return folder


@pytest.fixture
def hub(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub({path.name: path.read_bytes() for path in checkpoint.iterdir()})
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with serving_hub(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield hub


def last_name(engine: ScriptedEngine) -> str:
    return str(json.loads((Path(engine.config) / CATALOG_FILE).read_text())["models"][-1]["name"])


async def test_a_folder_is_added(engine: ScriptedEngine, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkpoint.parent)
    engine.catalog_change = CatalogChange(added=("m",))
    async with open_console(engine) as console:
        await console.press("colon", *"add a model", "enter")
        await console.sees("path:FOLDER")
        await console.press(*"path:m", "enter")

        await console.sees("Add: added m")
        assert last_name(engine) == "m"


async def test_what_cannot_be_added_is_told_and_nothing_is_written(engine: ScriptedEngine) -> None:
    async with open_console(engine) as console:
        await console.press("colon", *"add a model", "enter")
        await console.sees("path:FOLDER")
        await console.press(*"x", "enter")

        await console.sees("'x' is no source")
        assert last_name(engine) == "phi-3-mini"
        assert engine.reloads == 0


async def test_a_model_comes_from_the_hub_and_into_the_catalog(engine: ScriptedEngine, hub: Hub) -> None:
    engine.catalog_change = CatalogChange(added=("model",))
    async with open_console(engine) as console:
        await console.press("colon", *"pull a model", "enter")
        await console.sees("REPO[@REVISION]")
        await console.press(*"org/model", "enter")

        await console.sees("Add: added model")
        assert last_name(engine) == "model"
        assert hub.asked


async def test_fetching_is_given_up_with_escape_and_what_came_is_kept(engine: ScriptedEngine, hub: Hub) -> None:
    hub.cuts = [100]
    hub.may_go_on.clear()
    async with open_console(engine) as console:
        await console.press("colon", *"pull a model", "enter")
        await console.sees("REPO[@REVISION]")
        await console.press(*"org/model", "enter")
        await console.until(lambda: ("model.safetensors", "") in hub.asked)
        await console.press("escape")

        await console.sees("Pull: given up; what came of org/model is kept")
        assert last_name(engine) == "phi-3-mini"


async def test_the_catalog_is_read_again(engine: ScriptedEngine) -> None:
    async with open_console(engine) as console:
        await console.press("colon", *"reload", "enter")
        await console.sees("Reload: the catalog says what the engine knows already")
        assert engine.reloads == 1


async def test_who_may_only_watch_is_not_offered_it(engine: ScriptedEngine) -> None:
    async with open_console(engine, read_only=True) as console:
        await console.press("colon", *"catalog")
        await console.until(lambda: "reload the catalog" not in console.text)


async def test_a_console_outlives_the_model_that_it_has_selected_and_marked(engine: ScriptedEngine) -> None:
    async with open_console(engine) as console:
        await console.press("space", "j", "space", "k")
        gone = console.selected
        assert gone is not None
        engine.set_state(without_model(engine.state, gone))
        await console.until(lambda: not any(gone in row for row in console.rows))

        for key in ("y", "Y", "enter", "escape", "l", "escape", "escape", "p", "escape", "colon", "escape"):
            await console.press(key)
        assert console.selected != gone


async def test_a_page_stays_readable_when_its_model_goes(engine: ScriptedEngine) -> None:
    async with open_console(engine) as console:
        gone = console.selected
        assert gone is not None
        await console.press("enter")
        await console.sees(gone)
        engine.set_state(without_model(engine.state, gone))
        await console.press("y", "Y", "escape")
        await console.until(lambda: not any(gone in row for row in console.rows))
