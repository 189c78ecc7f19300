"""Models of one's own through `GPUManager`, with an engine that runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from engine.api import EngineError
from engine.core.catalog import CatalogChange
from engine.manager import GPUManager
from tests.runtime.live_engines import CONFIG, scripted_engine
from tests.service.test_manager_stream import scripted
from tests.weights.checkpoints import BERT_CONFIG, write_checkpoint


async def test_a_script_adds_uses_and_removes_a_model_of_its_own(tmp_path: Path) -> None:
    config = Path(shutil.copytree(CONFIG, tmp_path / "config"))
    folder = write_checkpoint(tmp_path / "m")
    (folder / "config.json").write_bytes(msgspec.json.encode(BERT_CONFIG | {"architectures": ["BertModel"]}))

    def script(manager: GPUManager) -> list[object]:
        name = manager.add_model(f"path:{folder}", "mine", aliases=["ada"], max_sequence=16)
        vectors = manager.embed("ada", ["a", "b"])
        with pytest.raises(EngineError, match="mine is the name of a model in the catalog already"):
            manager.add_model(f"path:{folder}", "mine")
        manager.load_model("ada")
        return [name, len(vectors), manager.reload(), manager.remove_model("ada")]

    async with scripted_engine(tmp_path, config=config) as box:
        assert await scripted(box.engine, script) == ["mine", 2, CatalogChange(), "mine"]
