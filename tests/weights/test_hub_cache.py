"""Each state that the Hugging Face cache can be left in has words of its own, with the command that mends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from engine.core.models import ModelSpec
from engine.weights.errors import SourceMissing
from engine.weights.sources import resolve
from tests.weights.checkpoints import write_checkpoint

OLD: Final = "a" * 40
NEW: Final = "b" * 40
Change: TypeAlias = Callable[[Path], object]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole repository in the cache, its snapshot made of links as the official library makes it."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    home = tmp_path / "hub" / "models--org--name"
    written = write_checkpoint(home / "blobs")
    snapshot = home / "snapshots" / OLD
    snapshot.mkdir(parents=True)
    for path in written.iterdir():
        (snapshot / path.name).symlink_to(path)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(OLD)
    return home


def snapshot_with(*names: str) -> Change:
    """A newer snapshot that has these files only."""

    def change(home: Path) -> None:
        newer = home / "snapshots" / NEW
        newer.mkdir()
        for name in names:
            (newer / name).symlink_to(home / "blobs" / name)
        (home / "refs" / "main").write_text(NEW)

    return change


def without_weights(home: Path) -> None:
    (home / "snapshots" / OLD / "model.safetensors").unlink()


def interrupted(home: Path) -> None:
    without_weights(home)
    (home / "blobs" / "53aa.incomplete").touch()


def in_another_format(home: Path) -> None:
    without_weights(home)
    (home / "snapshots" / OLD / "model.onnx").touch()


def empty(home: Path) -> None:
    for path in (home / "snapshots" / OLD).iterdir():
        path.unlink()


def without_snapshots(home: Path) -> None:
    empty(home)
    (home / "snapshots" / OLD).rmdir()


FETCH: Final = "`citadel pull org/name`"
OLDER: Final = f'an older one is whole: "revision": "{OLD}" in the catalog takes that'
STATES: Final[dict[str, tuple[Change, str]]] = {
    "a link to a file that is gone": (
        lambda home: (home / "blobs" / "model.safetensors").unlink(),
        "is there in part: model.safetensors in the Hugging Face cache is a link to a file that is gone",
    ),
    "an interrupted download": (interrupted, "its download was interrupted, with 1 files unfinished"),
    "another format": (in_another_format, "has its weights as ONNX"),
    "no weights": (without_weights, "has no model.safetensors and no model.safetensors.index.json; fetch it again"),
    "a newer snapshot without weights": (
        snapshot_with("config.json"),
        f"is there without its weights; {OLDER}; {FETCH}",
    ),
    "a newer snapshot that is not there": (
        lambda home: (home / "refs" / "main").write_text(NEW),
        f"revision main is {NEW[:12]} in the Hugging Face cache, and that is not there; {OLDER}; {FETCH}",
    ),
    "an empty ref": (lambda home: (home / "refs" / "main").write_text("\n"), f"is empty.*; {OLDER}; {FETCH}"),
    "a ref that leads elsewhere": (lambda home: (home / "refs" / "main").write_text("../.."), "is not there"),
    "no ref": (lambda home: (home / "refs" / "main").unlink(), f"not revision main; {OLDER}; {FETCH} fetches it"),
    "an empty snapshot": (empty, f"is an empty folder in the Hugging Face cache; {FETCH}"),
    "no snapshot": (without_snapshots, f"has begun on it, and has none of its files; {FETCH}"),
}


@pytest.mark.parametrize(("change", "words"), STATES.values(), ids=STATES)
def test_each_state_is_told_apart(change: Change, words: str, home: Path, tmp_path: Path) -> None:
    change(home)
    with pytest.raises(SourceMissing, match=words):
        resolve(ModelSpec("m", ("hub:org/name",), "embedding"), tmp_path)


def test_a_whole_one_is_used_and_a_name_in_other_letters_is_pointed_out(home: Path, tmp_path: Path) -> None:
    assert resolve(ModelSpec("m", ("hub:org/name",), "embedding"), tmp_path).folder == home / "snapshots" / OLD
    with pytest.raises(SourceMissing, match="but hub:org/name is, in other letters"):
        resolve(ModelSpec("m", ("hub:Org/Name",), "embedding"), tmp_path)


def test_an_older_snapshot_is_used_where_the_catalog_names_it(home: Path, tmp_path: Path) -> None:
    snapshot_with("config.json")(home)
    assert resolve(ModelSpec("m", ("hub:org/name",), "embedding", revision=OLD), tmp_path).folder.name == OLD
