"""`citadel models`: one's own models come, go and get other names, with an engine that runs and without one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from engine.core.catalog import CatalogChange
from engine.settings.catalog import CATALOG_FILE
from tests.cli.conftest import Citadel
from tests.runtime.live_engines import CONFIG
from tests.scripted_engine import ScriptedEngine
from tests.weights.checkpoints import BERT_CONFIG, write_checkpoint


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(shutil.copytree(CONFIG, tmp_path / "config"))
    monkeypatch.setenv("CITADEL_CONFIG", str(folder))
    monkeypatch.setenv("CUDA_ENABLED", "false")
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = write_checkpoint(tmp_path / "my-model")
    (folder / "config.json").write_bytes(msgspec.json.encode(BERT_CONFIG | {"architectures": ["BertModel"]}))
    return folder


def names(config: Path) -> list[str]:
    return [entry["name"] for entry in json.loads((config / CATALOG_FILE).read_text())["models"]]


async def test_a_folder_is_added_and_the_engine_takes_it_up(
    citadel: Citadel, engine: ScriptedEngine, config: Path, checkpoint: Path
) -> None:
    engine.config = str(config)
    engine.catalog_change = CatalogChange(added=("my-model",))

    ran = await citadel("models", "add", f"path:{checkpoint}", "--alias", "ada", "--max-sequence", "16")

    assert ran.status == 0, ran.err
    assert ran.out.startswith("my-model: embedding, float32, texts of up to 16 tokens; 1 MiB of weights")
    assert ran.out.splitlines()[1] == (
        f"taken from path:{checkpoint}; `citadel prepare my-model` makes its first load fast"
    )
    assert "the engine has taken it up: added my-model" in ran.err
    assert names(config)[-1] == "my-model"
    assert engine.reloads == 1


async def test_without_an_engine_the_next_one_finds_it(citadel: Citadel, config: Path, checkpoint: Path) -> None:
    ran = await citadel(
        "models", "add", f"path:{checkpoint}", "--name", "mine", "--task", "embedding", "--dtype", "int8"
    )

    assert (ran.status, "no engine runs; the next one finds it so" in ran.err) == (0, True)
    assert (await citadel("models", "alias", "mine", "ada", "small")).out == "mine is called ada, small\n"
    assert (await citadel("models", "alias", "ada", "small", "--rm")).out == "mine is no more called small\n"
    gone = await citadel("models", "rm", "ada")
    assert gone.out == "mine is not in the catalog any more; its files stay\n"
    assert names(config) == ["all-MiniLM-L6-v2", "bge-base", "e5-small", "phi-3-mini"]


async def test_a_refusal_says_why_and_that_nothing_was_written(citadel: Citadel, config: Path, tmp_path: Path) -> None:
    before = (config / CATALOG_FILE).read_bytes()

    ran = await citadel("models", "add", f"path:{tmp_path}/nowhere")

    assert ran.status == 1
    assert "there is no folder" in ran.err
    assert "nothing was written" in ran.err
    assert (config / CATALOG_FILE).read_bytes() == before


async def test_who_may_only_watch_adds_nothing(citadel: Citadel, config: Path, checkpoint: Path) -> None:
    ran = await citadel("--read-only", "models", "add", f"path:{checkpoint}")
    assert ran.status == 1
    assert "nothing was changed" in ran.err
    assert "my-model" not in names(config)


async def test_a_resident_that_was_removed_is_told_how_it_leaves(
    citadel: Citadel, engine: ScriptedEngine, config: Path
) -> None:
    engine.config = str(config)
    engine.catalog_change = CatalogChange(leaving=("e5-small",))

    ran = await citadel("models", "rm", "e5-small")

    assert "e5-small in use, removed once off the device" in ran.err
    assert "`citadel evict e5-small` takes it off its device" in ran.err


async def test_what_a_reload_changed_is_said(citadel: Citadel, engine: ScriptedEngine) -> None:
    engine.catalog_change = CatalogChange(added=("mine",), remarks=("it fits only the CPU",))
    assert await citadel("models", "reload") == (0, "added mine\n", "citadel: it fits only the CPU\n")

    engine.catalog_mistake = "models[1].task: 'embeding' is given"
    ran = await citadel("models", "reload")
    assert (ran.status, ran.err) == (1, "citadel: models[1].task: 'embeding' is given\n")


async def test_all_that_is_known_of_a_model_is_told_by_any_of_its_names(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    await citadel("load", "bge-base", "--on", "gpu1")

    ran = await citadel("models", "info", "BGE-base:latest")

    assert ran.status == 0
    assert ran.out.splitlines()[0] == "bge-base (synthetic)"
    assert "  on        gpu1 (ready)" in ran.out.splitlines()
    assert "did you mean e5-small" in (await citadel("models", "info", "e5-smal")).err


@pytest.mark.parametrize(
    "command", [("load",), ("evict",), ("pin",), ("move", "gpu0"), ("why",), ("plan", "load"), ("bench",)]
)
async def test_commands_take_any_name_and_answer_near_misses(
    citadel: Citadel, engine: ScriptedEngine, command: tuple[str, ...]
) -> None:
    verb, *rest = command
    before, after = (rest, []) if verb == "plan" else ([], rest)

    ran = await citadel(verb, *before, "bge-bas", *after)

    assert ran.status != 0
    assert "did you mean bge-base?" in ran.err
