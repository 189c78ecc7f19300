"""The process that prepares models without an engine, and the damage that it mends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from engine.core.models import ModelSpec
from engine.core.preparation import Building, Built, Depth, Kept, NotPrepared, Order, PrepareNews
from engine.prepare import PreparingBroke, preparing
from engine.weights.integrity import verify_checksum
from engine.weights.slab import Prepared, open_prepared
from engine.weights.sources import prepared_folder, resolve
from engine.worker.convert import prepare
from engine.worker.prepare_program import prepare_all
from engine.worker.protocol import Prepare
from tests.worker.models import write_random_checkpoint


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    write_random_checkpoint("bert", tmp_path / "checkpoint")
    return ModelSpec("m", (f"path:{tmp_path / 'checkpoint'}",), "embedding")


@pytest.fixture
def prepared(spec: ModelSpec, tmp_path: Path) -> Prepared:
    """The model's slab as the engine's own preparer writes it, in this process."""
    source, folder = str(tmp_path / "checkpoint"), str(folder_of(spec, tmp_path))
    return prepare(Prepare(1, "m", f"path:{source}", source, folder, spec.task, spec.dtype, None), lambda _: None)


def folder_of(spec: ModelSpec, cache: Path) -> Path:
    return prepared_folder(spec, resolve(spec, cache), cache)


def all_news(spec: ModelSpec, cache: Path, depth: Depth = "sizes") -> list[PrepareNews]:
    """What is said, in this process, which has torch already."""
    news: list[PrepareNews] = []
    prepare_all(Order((spec,), str(cache), depth), news.append)
    return news


def flip_a_byte(slab: Path) -> None:
    with slab.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 0xFF]))


def test_a_model_is_built_as_the_engine_would_have_built_it(spec: ModelSpec, tmp_path: Path) -> None:
    *steps, built = all_news(spec, tmp_path)
    assert isinstance(built, Built)
    assert [step.done for step in steps if isinstance(step, Building)][-1] == 1.0
    verify_checksum(open_prepared(folder_of(spec, tmp_path)), lambda _: None)


@pytest.mark.parametrize(("depth", "proof"), [("sizes", "sizes"), ("checksum", "source")])
def test_a_slab_that_the_engine_wrote_is_kept(
    spec: ModelSpec, prepared: Prepared, tmp_path: Path, depth: Depth, proof: Literal["sizes", "source"]
) -> None:
    *_, kept = all_news(spec, tmp_path, depth)
    assert kept == Kept("m", prepared.length, proof)


def change_in_secret(path: Path) -> None:
    """Flip the file's last byte, and leave size and times as they were."""
    times = path.stat()
    flip_a_byte(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_source_that_has_changed_in_secret_is_found_by_a_check_and_prepared_again(
    spec: ModelSpec, prepared: Prepared, tmp_path: Path
) -> None:
    change_in_secret(tmp_path / "checkpoint" / "model.safetensors")
    assert isinstance(all_news(spec, tmp_path)[-1], Kept)
    *_, built = all_news(spec, tmp_path, "checksum")
    assert isinstance(built, Built)
    assert f"has changed since {prepared.folder} was made of it: model.safetensors" in built.damage
    assert isinstance(all_news(spec, tmp_path, "checksum")[-1], Kept)


def test_a_source_that_is_another_file_now_is_told_apart_from_one_that_was_never_prepared(
    spec: ModelSpec, prepared: Prepared, tmp_path: Path
) -> None:
    flip_a_byte(tmp_path / "checkpoint" / "model.safetensors")
    (tmp_path / "checkpoint" / "tokenizer_config.json").write_text("{}")
    *_, built = all_news(spec, tmp_path, "checksum")
    assert isinstance(built, Built)
    assert f"since {prepared.folder} was made of it: model.safetensors, tokenizer_config.json" in built.damage
    assert "remove it" in built.damage


def test_a_source_that_was_only_touched_is_prepared_without_a_word_of_damage(
    spec: ModelSpec, prepared: Prepared, tmp_path: Path
) -> None:
    os.utime(tmp_path / "checkpoint" / "model.safetensors", ns=(1, 1))
    *_, built = all_news(spec, tmp_path, "checksum")
    assert isinstance(built, Built)
    assert not built.damage


def test_a_slab_of_an_earlier_format_is_built_again_in_its_place_with_words(
    spec: ModelSpec, prepared: Prepared, tmp_path: Path
) -> None:
    layout = prepared.folder / "layout.json"
    fields = msgspec.json.decode(layout.read_bytes())
    del fields["source_sha256"]
    layout.write_bytes(msgspec.json.encode(fields | {"format_version": 1}))
    *_, built = all_news(spec, tmp_path)
    assert isinstance(built, Built)
    assert "was prepared in format 1, not 2" in built.damage
    assert open_prepared(prepared.folder).layout.source_sha256


@pytest.mark.parametrize("depth", ["checksum", "nothing"])
def test_a_damaged_slab_is_built_again(spec: ModelSpec, prepared: Prepared, tmp_path: Path, depth: Depth) -> None:
    flip_a_byte(prepared.slab_path)
    *_, built = all_news(spec, tmp_path, depth)
    assert isinstance(built, Built)
    assert ("does not have the bytes that were written" in built.damage) == (depth == "checksum")
    verify_checksum(open_prepared(prepared.folder), lambda _: None)


def test_a_damaged_slab_that_cannot_be_built_again_says_both(
    spec: ModelSpec, prepared: Prepared, tmp_path: Path
) -> None:
    flip_a_byte(prepared.slab_path)
    weights = tmp_path / "checkpoint" / "model.safetensors"
    times = weights.stat()
    weights.write_bytes(weights.read_bytes().replace(b"embeddings.LayerNorm", b"embeddings.LayerNope"))
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))  # else it would be another model's source
    *_, outcome = all_news(spec, tmp_path, "checksum")
    assert isinstance(outcome, NotPrepared)
    assert "does not have the bytes" in outcome.reason
    assert "that failed: " in outcome.reason


def test_a_model_without_a_source_is_told_and_the_next_one_is_prepared(spec: ModelSpec, tmp_path: Path) -> None:
    missing = ModelSpec("gone", ("path:/nowhere",), "embedding")
    with preparing(Order((missing, spec), str(tmp_path))) as news:
        outcomes = [item for item in news if isinstance(item, Built | NotPrepared)]
    assert [outcome.model for outcome in outcomes] == ["gone", "m"]
    assert isinstance(outcomes[0], NotPrepared)
    assert "there is no folder /nowhere" in outcomes[0].reason


def test_leaving_in_the_middle_leaves_nothing_half_written(spec: ModelSpec, tmp_path: Path) -> None:
    with preparing(Order((spec,), str(tmp_path))) as news:
        next(item for item in news if isinstance(item, Building) and item.done)
    folder = folder_of(spec, tmp_path)
    assert [path for path in folder.parent.iterdir() if path != folder] == []
    if folder.exists():  # it was faster than we were
        verify_checksum(open_prepared(folder), lambda _: None)


def test_a_process_that_breaks_says_its_last_words(spec: ModelSpec, tmp_path: Path) -> None:
    program = ("-c", "raise SystemExit('no torch here')")
    with pytest.raises(PreparingBroke, match="broke off: no torch here"):  # noqa: SIM117 - the error comes from the loop
        with preparing(Order((spec,), str(tmp_path)), program) as news:
            list(news)


DEADLY = """
import os, sys, msgspec
from engine.core.preparation import Building, Built, Order
for spec in msgspec.json.decode(sys.stdin.buffer.read(), type=Order).models:
    for item in (Building(spec.name, 0.0), Built(spec.name, 1, 1.0)):
        print(msgspec.json.encode(item).decode(), flush=True)
        if spec.name == "deadly":
            os.abort()
"""


def test_a_model_that_ends_the_process_is_named_and_the_next_ones_are_prepared(spec: ModelSpec, tmp_path: Path) -> None:
    models = tuple(msgspec.structs.replace(spec, name=name) for name in ("first", "deadly", "last"))
    with preparing(Order(models, str(tmp_path)), ("-c", DEADLY)) as news:
        outcomes = [item for item in news if isinstance(item, Built | NotPrepared)]
    died = NotPrepared("deadly", "the process that prepared it has ended: SIGABRT")
    assert outcomes == [Built("first", 1, 1.0), died, Built("last", 1, 1.0)]
