"""fleet.yaml as `citadel fleet add` and `leave` change it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.whole_file import only_writer
from fleet.fleet_text import put_in, take_out
from fleet.ray_cluster import FleetRefused
from fleet.settings import BoxEntry, load_fleet

TEXT = "# ours\nboxes:  # in order\n  attic: {}  # the loud one\norder: [attic]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


def test_a_box_is_put_in_and_taken_out_and_all_else_stays(file: Path) -> None:
    put_in(file, "box2", "ann@box2")
    assert load_fleet(file).boxes == {"box2": BoxEntry(ray="ann@box2"), "attic": BoxEntry()}
    take_out(file, "box2")
    assert file.read_text() == TEXT
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.iterdir()] == ["fleet.yaml"]


def test_it_is_left_alone_while_somebody_else_changes_it(file: Path) -> None:
    with only_writer(file.parent), pytest.raises(FleetRefused, match="somebody else is changing"):
        put_in(file, "box2", "box2")
    assert file.read_text() == TEXT


def test_what_would_have_mistakes_then_is_not_written(file: Path) -> None:
    put_in(file, "box2", "ann@box2")
    before = file.read_text()
    with pytest.raises(
        FleetRefused, match=r"left as it is: .*order: there is no box attic.*; take attic out yourself$"
    ):
        take_out(file, "attic")
    with pytest.raises(
        FleetRefused, match=r"boxes\.box2: it is the same engine as box3.*; put it beneath boxes yourself"
    ):
        put_in(file, "box3", "ann@box2")
    assert file.read_text() == before


def test_the_only_box_is_not_taken_out(file: Path) -> None:
    with pytest.raises(FleetRefused, match="attic is the only box of"):
        take_out(file, "attic")
    assert file.read_text() == TEXT


def test_a_file_that_only_a_person_should_change_is_left_with_what_to_do(file: Path) -> None:
    before = "boxes:\n  attic: {ssh: &lan ann@lan}\n  box2: {ssh: *lan, socket: /srv/engine.sock}\n"
    file.write_text(before)
    with pytest.raises(FleetRefused, match=r"left as it is: it is written in another way .*; take attic out yourself"):
        take_out(file, "attic")
    assert file.read_text() == before
