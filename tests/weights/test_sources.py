"""The first source that this machine has is taken, and what is wrong with the others is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.models import ModelSpec
from engine.weights.errors import SourceMissing
from engine.weights.sources import prepared_folder, resolve
from tests.weights.checkpoints import write_checkpoint

COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"


def spec(*sources: str, revision: str | None = None) -> ModelSpec:
    return ModelSpec(name="m", sources=sources, task="embedding", revision=revision)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_the_first_source_that_is_there_is_used(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    source = resolve(spec("package:not_installed_anywhere", f"path:{folder}", "synthetic:bge-base"), tmp_path)
    assert source.text == f"path:{folder}"
    assert source.folder == folder
    assert source.synthetic_kind is None


def test_a_synthetic_source_is_always_there(tmp_path: Path) -> None:
    source = resolve(spec("synthetic:e5-small"), tmp_path)
    assert source.synthetic_kind == "e5-small"
    assert source.folder.parent == tmp_path / "synthetic"
    assert not source.folder.exists()


def test_an_installed_package_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "weights_for_a_test"
    write_checkpoint(package / "model")
    write_checkpoint(package / "other" / "folder")
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve(spec("package:weights_for_a_test"), tmp_path).folder == package / "model"
    assert resolve(spec("package:weights_for_a_test/other/folder"), tmp_path).folder == package / "other" / "folder"


def test_the_hub_cache_is_read_at_main_or_at_the_revision(hub: Path, tmp_path: Path) -> None:
    home = hub / "models--org--name"
    write_checkpoint(home / "snapshots" / COMMIT)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)
    assert resolve(spec("hub:org/name"), tmp_path).folder.name == COMMIT
    assert resolve(spec("hub:org/name", revision=COMMIT), tmp_path).folder.name == COMMIT
    with pytest.raises(SourceMissing, match=r"not revision v2; `citadel pull org/name@v2`"):
        resolve(spec("hub:org/name", revision="v2"), tmp_path)


def test_a_model_without_a_source_is_told_what_to_do_about_each(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "pickled" / "pytorch_model.bin").touch()
    sources = (
        "package:no_such_package",
        "hub:org/name",
        f"path:{tmp_path}/pickled",
        "path:/no/such",
        "synthetic:x",
        "y",
    )
    with pytest.raises(SourceMissing) as raised:
        resolve(spec(*sources), tmp_path)
    text = str(raised.value)
    assert "`pip install no-such-package` installs it" in text
    assert "hub:org/name: it is not in the Hugging Face cache; `citadel pull org/name` fetches it" in text
    assert "only as .bin" in text
    assert "there is no folder /no/such" in text
    assert "there is no synthetic 'x'; there are bge-base" in text
    assert "y: a source begins with package:" in text


def test_the_prepared_folder_changes_with_the_checkpoint_and_the_dtype(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    single = spec(f"path:{folder}")
    half = ModelSpec(name="m", sources=single.sources, task="embedding", dtype="float16")
    source = resolve(single, tmp_path)
    first = prepared_folder(single, source, tmp_path)
    assert first.parent == tmp_path / "prepared"
    assert first.name.startswith("m-float32-")
    assert first == prepared_folder(single, source, tmp_path)
    assert first != prepared_folder(half, source, tmp_path)
    (folder / "config.json").write_text("{} ")
    assert first != prepared_folder(single, source, tmp_path)
