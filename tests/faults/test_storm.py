"""A storm over an engine as it ships: short in the suite, where `--endurance-s 3600` was given for an hour.

Its table is for `docs/promises.md`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from engine.api import EngineAPI
from engine.client import connect
from engine.core.names import ModelName
from engine.core.tasks import Embed, Generate, Task
from engine.paths import Paths
from engine.process import ensure_engine
from engine.worker.synthetic import make
from tests.endurance.clients import Ask
from tests.faults.storm import Storm
from tests.worker.decoders import write_decoder
from tests.worker.small_recipes import SMALL_EMBEDDER

CLIENTS: Final = 4
TASKS: Final[tuple[tuple[ModelName, Task], ...]] = (
    ("one", Embed(("a cat sits on the mat",))),
    ("one", Embed(("a", "the stock market fell today") * 5)),
    ("two", Embed(("a warm sill",))),
    ("writer", Generate("a cat", 9)),
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Three models of three kinds of weights, and two virtual GPUs that hold one each."""
    for seed, name in enumerate(("one", "two")):
        make(replace(SMALL_EMBEDDER, seed=seed), tmp_path / name)
    write_decoder(tmp_path / "writer")
    tasks = {"one": "embedding", "two": "embedding", "writer": "generation"}
    limits = {"max_batch": 4, "max_sequence": 48}
    models = [{"name": n, "source": f"path:{tmp_path / n}", "task": t, "limits": limits} for n, t in tasks.items()]
    (tmp_path / "model_gpu_mapping.json").write_text(json.dumps({"models": models}))
    (tmp_path / "gpu_allocation.yaml").write_text(
        "devices: {virtual: [{memory: 1MiB}, {memory: 1MiB}]}\npolicy: {min_residency_s: 0}\n"
        "monitoring: {not_answering_s: 3}\n"
    )
    return tmp_path


@pytest.fixture
def goes_on(request: pytest.FixtureRequest) -> Callable[[int], bool]:
    seconds: float | None = request.config.getoption("--endurance-s")
    if seconds is None:
        return lambda rounds: rounds < 1
    end_s = time.monotonic() + seconds
    return lambda _: time.monotonic() < end_s


async def _alone(engine: EngineAPI) -> list[Ask]:
    return [Ask(model, task, (await engine.result(model, task)).result) for model, task in TASKS]


async def test_nothing_is_lost_and_no_answer_is_wrong(
    home: Paths, config: Path, goes_on: Callable[[int], bool], capsys: pytest.CaptureFixture[str]
) -> None:
    await ensure_engine(home, config)
    storm = Storm(home, config, await _alone(await connect(home)), seed=19)

    await storm.blow(CLIENTS, goes_on)

    rows = [(k, storm.tried[k], storm.lost[k], storm.wrong[k], storm.traces[k]) for k in storm.kinds]
    with capsys.disabled():
        sys.stdout.write("".join(f"\n| {' | '.join(str(figure) for figure in row)} |" for row in rows))
        sys.stdout.write(f"\n{storm.answered} answers\n")
    assert min(storm.tried[kind] for kind in storm.kinds) > 0
    assert storm.answered > len(TASKS) * len(storm.kinds)
    assert (storm.lost.total(), storm.wrong.total(), storm.traces.total()) == (0, 0, 0), storm.told
