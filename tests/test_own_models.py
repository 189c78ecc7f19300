"""One's own models in the catalog: what is found in their files, and what is refused and leaves the file as it was."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from engine.api import EngineError, UnknownModel
from engine.core.catalog import CatalogChange
from engine.defaults import DEFAULTS_FOLDER
from engine.own_models import NewModel, OwnModels
from engine.settings.catalog import CATALOG_FILE
from tests.runtime.live_engines import CONFIG, Box, scripted_engine
from tests.scripted_engine import ScriptedEngine
from tests.weights.checkpoints import BERT_CONFIG, write_checkpoint

ENVIRONMENT = {"CUDA_ENABLED": "false"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIG, tmp_path / "config"))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write(tmp_path / "my-model", architectures=["BertModel"])


@pytest.fixture
async def box(tmp_path: Path, config: Path) -> AsyncIterator[Box]:
    async with scripted_engine(tmp_path, config=config) as found:
        yield found


def write(folder: Path, **said: object) -> Path:
    """A checkpoint whose config.json says this, too."""
    write_checkpoint(folder)
    (folder / "config.json").write_bytes(msgspec.json.encode(BERT_CONFIG | said))
    return folder


def entries(config: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((config / CATALOG_FILE).read_text())["models"]
    return found


def own(config: Path, box: Box | None = None) -> OwnModels:
    return OwnModels(config, {**os.environ, **ENVIRONMENT}, box.engine if box else None)


async def test_a_folder_is_all_that_needs_to_be_said(config: Path, checkpoint: Path, box: Box) -> None:
    before = entries(config)

    added = await own(config, box).add(NewModel(f"path:{checkpoint}"))

    assert added.change == CatalogChange(added=("my-model",))
    assert entries(config) == [
        *before,
        {"name": "my-model", "source": f"path:{checkpoint}", "task": "embedding", "dtype": "float32"},
    ]
    assert (await box.engine.embed("my-model", ["a"])).vectors


async def test_without_an_engine_it_is_there_for_the_next_one(config: Path, checkpoint: Path) -> None:
    asked = NewModel(f"path:{checkpoint}", "mine", aliases=("ada",), max_sequence=16)

    added = await own(config).add(asked)

    assert added.change is None
    assert added.known.spec.limits.max_sequence == 16
    assert entries(config)[-1]["aliases"] == ["ada"]


@pytest.mark.parametrize(
    ("said", "task"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "embedding"),
        ({"architectures": ["BertForSequenceClassification"], "num_labels": 1}, "rerank"),
        ({"architectures": ["BertForSequenceClassification"], "num_labels": 3}, "classify"),
        ({"architectures": ["BertLMHeadModel"], "is_decoder": True}, "generation"),
    ],
)
async def test_what_it_is_for_is_found_in_its_files(
    config: Path, tmp_path: Path, said: dict[str, object], task: str
) -> None:
    checkpoint = write(tmp_path / "m", **said)
    await own(config).add(NewModel(f"path:{checkpoint}"))
    assert entries(config)[-1]["task"] == task


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (NewModel("path:{}/nowhere"), "there is no folder .*nowhere; nothing was written"),
        (NewModel("{}/my-model"), "is no source; did you mean path:.*my-model"),
        (NewModel("hf:org/name"), "'hf:org/name' is no source; allowed: package:MODULE"),
        (NewModel("hub:org/name"), "citadel pull org/name"),
        (NewModel("path:{}/my-model", "e5-small"), "e5-small is the name of a model in the catalog already"),
        (NewModel("path:{}/my-model", aliases=("E5-small",)), "E5-small is the name of a model in the catalog already"),
        (NewModel("path:{}/my-model", "my model"), "'my model' can't be a model's name"),
        (NewModel("path:{}/my-model", aliases=("two words",)), "'two words' is given; allowed: 1 to 128"),
        (NewModel("path:{}/my-model", task="rerank"), "BertModel, which judges no texts"),
        (
            NewModel("path:{}/my-model", max_sequence=0),
            r"limits\.max_sequence: 0 is given; allowed: a whole number from 1",
        ),
        (NewModel("hub:org/name@"), "names no revision behind the @"),
        (NewModel("path:{}/cut"), "was cut short.*nothing was written"),
        (NewModel("path:{}/silent"), "names no architectures, .*--task; nothing was written"),
    ],
)
async def test_what_cannot_be_used_is_refused_and_the_file_stays(
    config: Path, tmp_path: Path, checkpoint: Path, box: Box, asked: NewModel, words: str
) -> None:
    shutil.copytree(checkpoint, tmp_path / "cut")
    os.truncate(tmp_path / "cut" / "model.safetensors", 100)
    write(tmp_path / "silent")
    before = (config / CATALOG_FILE).read_bytes()

    with pytest.raises(EngineError, match=words):
        await own(config, box).add(replace(asked, source=asked.source.format(tmp_path)))

    assert (config / CATALOG_FILE).read_bytes() == before
    assert not [name for name in os.listdir(config) if name.startswith(".")]


async def test_the_program_s_own_catalog_is_never_changed(checkpoint: Path) -> None:
    before = (DEFAULTS_FOLDER / CATALOG_FILE).read_bytes()
    with pytest.raises(EngineError, match="`citadel init` writes one"):
        await own(DEFAULTS_FOLDER).add(NewModel(f"path:{checkpoint}"))
    assert (DEFAULTS_FOLDER / CATALOG_FILE).read_bytes() == before


async def test_a_file_with_mistakes_is_not_touched(config: Path, checkpoint: Path) -> None:
    written = (config / CATALOG_FILE).read_text().replace('"embedding"', '"embeding"')
    (config / CATALOG_FILE).write_text(written)

    with pytest.raises(EngineError, match="'embeding' is given"):
        await own(config).add(NewModel(f"path:{checkpoint}"))
    with pytest.raises(EngineError, match="'embeding' is given"):
        await own(config).remove("e5-small")

    assert (config / CATALOG_FILE).read_text() == written


async def test_what_the_engine_does_not_take_is_taken_back(config: Path, checkpoint: Path, box: Box) -> None:
    before = (config / CATALOG_FILE).read_bytes()
    own_models = own(config, box)
    (config / "gpu_allocation.yaml").write_text(
        "devices: [\n"
    )  # which the engine reads, too, before it takes anything up

    with pytest.raises(EngineError, match=r"gpu_allocation\.yaml: not YAML"):
        await own_models.remove("e5-small")

    assert (config / CATALOG_FILE).read_bytes() == before
    assert "e5-small" in (await box.engine.snapshot()).state.models


class Elsewhere(ScriptedEngine):
    """Its files are not those that the caller sees."""

    async def reload(self) -> CatalogChange:
        known = self.state.models["e5-small"]
        in_trouble = replace(known, spec=replace(known.spec, name="my-model"), trouble="there is no folder here.")
        self.set_state(replace(self.state, models={**self.state.models, "my-model": in_trouble}))
        return await super().reload()


async def test_what_the_engine_cannot_load_is_taken_back(config: Path, checkpoint: Path) -> None:
    engine, before = Elsewhere(), (config / CATALOG_FILE).read_bytes()
    own_models = OwnModels(config, {**os.environ, **ENVIRONMENT}, engine)

    with pytest.raises(EngineError, match="the engine can't use it: there is no folder here; nothing was written"):
        await own_models.add(NewModel(f"path:{checkpoint}"))

    assert (config / CATALOG_FILE).read_bytes() == before
    assert engine.reloads == 2


async def test_a_model_is_removed_and_called_by_any_of_its_names(config: Path, box: Box) -> None:
    own_models = own(config, box)

    assert await own_models.add_aliases("INTFLOAT/e5-small-v2", ["ada", "small"]) == (
        "e5-small",
        CatalogChange(changed=("e5-small",)),
    )
    assert await own_models.remove_aliases("ada", ["small"]) == ("e5-small", CatalogChange(changed=("e5-small",)))
    assert await own_models.remove("ada") == ("e5-small", CatalogChange(removed=("e5-small",)))

    assert [entry["name"] for entry in entries(config)] == ["all-MiniLM-L6-v2", "bge-base", "phi-3-mini"]


async def test_near_misses_and_names_in_use_are_told(config: Path) -> None:
    with pytest.raises(UnknownModel, match="did you mean e5-small"):
        await own(config).remove("e5-smal")
    with pytest.raises(EngineError, match="bge-base is the name of a model in the catalog already"):
        await own(config).add_aliases("e5-small", ["BGE-base".lower()])
    with pytest.raises(EngineError, match="e5-small has no alias ada; it has none"):
        await own(config).remove_aliases("e5-small", ["ada"])


async def test_the_file_keeps_its_mode_and_a_link_stays_a_link(config: Path, tmp_path: Path, checkpoint: Path) -> None:
    real = tmp_path / "elsewhere.json"
    shutil.move(config / CATALOG_FILE, real)
    real.chmod(0o640)
    (config / CATALOG_FILE).symlink_to(real)

    await own(config).add(NewModel(f"path:{checkpoint}"))

    assert (config / CATALOG_FILE).is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert entries(config)[-1]["name"] == "my-model"
