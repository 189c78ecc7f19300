"""An engine in processes of its own, as it ships, with two small models and virtual GPUs that hold one of them each."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from engine.client import RemoteEngine, connect
from engine.paths import find_paths, make_folders
from engine.process import ensure_engine, wait_until_gone
from engine.worker.synthetic import make
from tests.endurance.switching import NAMES, all_devices_up, until
from tests.worker.small_recipes import SMALL_EMBEDDER


@pytest.fixture
def gpus() -> int:
    """How many; a test may say otherwise."""
    return 1


@pytest.fixture
def config(tmp_path: Path, gpus: int) -> Path:
    """Another seed makes another model of the same size."""
    for seed, name in enumerate(NAMES):
        make(replace(SMALL_EMBEDDER, seed=seed), tmp_path / name)
    catalog = [{"name": name, "source": f"path:{tmp_path / name}", "task": "embedding"} for name in NAMES]
    (tmp_path / "model_gpu_mapping.json").write_text(json.dumps({"models": catalog}))
    virtual = ", ".join(["{memory: 4MiB}"] * gpus)
    (tmp_path / "gpu_allocation.yaml").write_text(
        f"devices: {{virtual: [{virtual}]}}\npolicy: {{min_residency_s: 0}}\n"
    )
    return tmp_path


@pytest_asyncio.fixture
async def engine(config: Path) -> AsyncIterator[RemoteEngine]:
    paths = find_paths(os.environ)
    make_folders(paths)
    await ensure_engine(paths, config)
    engine = await connect(paths)
    await until(engine, all_devices_up)
    yield engine
    await engine.stop()
    await wait_until_gone(paths)
