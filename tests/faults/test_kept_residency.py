"""What a restart finds: who was resident and pinned, however the engine ended and whatever its disk did meanwhile."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.api import Declined, Done, Failed
from engine.core.commands import Command, Load, SetPin, Submission, Unpin
from engine.core.models import Pin
from engine.core.records import Record, Residency
from engine.runtime.history import HISTORY_RECORDS
from tests.recording.test_residency import HastyClock, read
from tests.runtime.live_engines import Box, scripted_engine

MINILM, PHI = "all-MiniLM-L6-v2", "phi-3-mini"


async def places(box: Box) -> dict[str, str]:
    return {r.model: r.device for r in (await box.engine.snapshot()).state.residents if r.stage == "ready"}


async def pins(box: Box) -> dict[str, Pin | None]:
    models = (await box.engine.snapshot()).state.models
    return {name: known.pin for name, known in models.items() if known.pin is not None}


async def until_kept(folder: Path, wanted: Residency) -> None:
    while (kept := read(folder / "residency.json")) is None or kept.residents != wanted.residents:
        await HastyClock().sleep(0.02)


async def test_a_pin_that_was_answered_as_done_is_there_though_the_engine_is_killed_in_that_moment(
    tmp_path: Path,
) -> None:
    async with scripted_engine(tmp_path) as box:
        commands: tuple[Command, ...] = (SetPin(MINILM, "gpu1"), SetPin(PHI), Unpin(PHI))
        for number, command in enumerate(commands):
            answer = await box.engine.submit(Submission(str(number), command))
            assert isinstance(answer, Done)
            kept = read(tmp_path / "residency.json")
            assert kept is not None
            assert kept.pins == {name: pin.device for name, pin in (await pins(box)).items() if pin is not None}


async def test_refused_commands_push_nobody_out(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("load", Load(MINILM, "gpu1")))
        await box.engine.submit(Submission("pin", SetPin(MINILM)))
        for number in range(HISTORY_RECORDS + 50):
            assert isinstance(await box.engine.submit(Submission(f"r{number}", Load(PHI, "gpu7"))), Declined)
    async with scripted_engine(tmp_path) as box:
        assert await places(box) == {MINILM: "gpu1"}
        assert await pins(box) == {MINILM: Pin()}


async def test_what_found_no_room_is_kept_once_there_is_room_again(tmp_path: Path) -> None:
    in_the_way = tmp_path / "residency.json"
    async with scripted_engine(tmp_path, engine_clock=HastyClock()) as box:
        await until_kept(tmp_path, Residency(0.0, (), {}))
        in_the_way.unlink()
        in_the_way.mkdir()  # as a full disk would, it keeps the file from being written
        assert isinstance(await box.engine.submit(Submission("load", Load(MINILM, "gpu1"))), Done)
        refused = await box.engine.submit(Submission("pin", SetPin(MINILM)))
        assert isinstance(refused, Failed)
        assert refused.holds
        assert "residency.json can't be written" in refused.reason
        assert (await box.engine.embed(MINILM, ["a"])).vectors, "it serves all the same"
        in_the_way.rmdir()
        await until_kept(tmp_path, Residency(0.0, ((MINILM, "gpu1"),), {}))
    async with scripted_engine(tmp_path) as box:
        assert await places(box) == {MINILM: "gpu1"}
        assert await pins(box) == {MINILM: Pin()}


async def test_a_first_start_after_an_update_takes_over_what_the_journal_says_once(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(msgspec.json.encode(Record(1, Residency(1.0, ((MINILM, "gpu1"),), {PHI: None}))) + b"\n")
    async with scripted_engine(tmp_path) as box:
        assert await places(box) == {MINILM: "gpu1"}
        assert await pins(box) == {PHI: Pin()}
    journal.unlink()
    async with scripted_engine(tmp_path) as box:
        assert await places(box) == {MINILM: "gpu1"}
        assert await pins(box) == {PHI: Pin()}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 99], ids=["empty", "torn", "noise"])
async def test_a_damaged_file_keeps_no_engine_from_starting(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "residency.json").write_bytes(content)
    async with scripted_engine(tmp_path) as box:
        assert await places(box) == {}
        assert (tmp_path / "residency.damaged").read_bytes() == content
        await until_kept(tmp_path, Residency(0.0, (), {}))
