"""What runs taught outlives the engine, for the same model on the same kind of device with the same torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.core.forecast.footprints import RunPeaks
from engine.core.forecast.run_costs import ran
from engine.core.models import Limits
from engine.core.state import ModelState
from engine.recording.footprints import FootprintStore
from tests.core.boxes import box

PEAKS = RunPeaks((1, 2), (3,), 2)
CARD = "NVIDIA A2"


def store(path: Path, torch: str = "2.13.0+cu130", limits: Limits | None = None) -> FootprintStore:
    models: dict[str, ModelState] = dict(box({"a": 10, "b": 10}).models)
    if limits:
        models["a"] = replace(models["a"], spec=replace(models["a"].spec, limits=limits))
    return FootprintStore(path, models, torch)


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def test_lessons_come_back_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "footprints.json"
    first = store(path)
    await first.keep("a", CARD, RunPeaks())
    await first.keep("b", CARD, RunPeaks())
    await first.keep("a", CARD, PEAKS)

    assert store(path).read().peaks == {("a", CARD): PEAKS, ("b", CARD): RunPeaks()}
    assert names(tmp_path) == ["footprints.json"]


async def test_how_long_runs_took_comes_back_too_beside_what_they_needed(tmp_path: Path) -> None:
    path = tmp_path / "footprints.json"
    state = ran(ran(box({"a": 10, "b": 10}), "a", "gpu0", 4, 0.5), "a", "cpu", 4, 2.0)
    kept = {("a", kind): rates for kind, rates in state.models["a"].run_rates.items()}
    gpu = state.devices["gpu0"].spec.title
    first = store(path)
    await first.keep("a", gpu, PEAKS)
    await first.keep_rates(state.models)

    assert store(path).read() == ({("a", gpu): PEAKS, ("a", "CPU"): RunPeaks()}, kept, "")
    await first.keep("a", gpu, RunPeaks())
    assert store(path).read().rates == kept


async def test_an_engine_that_has_timed_nothing_writes_nothing(tmp_path: Path) -> None:
    await store(tmp_path / "footprints.json").keep_rates(box({"a": 10}).models)

    assert names(tmp_path) == []


async def test_other_limits_or_another_torch_begin_anew_and_forget_nothing(tmp_path: Path) -> None:
    path = tmp_path / "footprints.json"
    await store(path).keep("a", CARD, PEAKS)
    updated = store(path, torch="2.14.0+cu130")

    assert store(path, limits=Limits(1, 8)).read().peaks == {}
    assert updated.read().peaks == {}
    await updated.keep("a", CARD, RunPeaks())
    assert store(path).read().peaks == {("a", CARD): PEAKS}


def test_without_a_file_nothing_is_known_and_nothing_is_said(tmp_path: Path) -> None:
    assert store(tmp_path / "footprints.json").read() == ({}, {}, "")


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 99, "lessons": []}', b'{"version": 1, "lessons": 3}'])
async def test_a_damaged_file_is_put_aside_with_a_word_and_learning_begins_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "footprints.json"
    path.write_bytes(content)
    anew = store(path)
    found = anew.read()
    await anew.keep("a", CARD, PEAKS)

    assert found.peaks == {}
    assert str(path) in found.warning
    assert "learned anew" in found.warning
    assert (tmp_path / "footprints.damaged").read_bytes() == content
    assert store(path).read().peaks == {("a", CARD): PEAKS}


async def test_a_folder_that_can_not_be_written_costs_the_lessons_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await store(tmp_path / "gone" / "footprints.json").keep("a", CARD, PEAKS)

    assert "what runs taught is lost at a restart" in caplog.text
