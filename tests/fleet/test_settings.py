"""The fleet's file: what it may say, and that all that is wrong with it is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.settings.problems import SettingsError
from fleet.core.view import Rule, Rules
from fleet.settings import BoxEntry, FleetSettings, load_fleet


def _load(folder: Path, text: str) -> FleetSettings:
    file = folder / "fleet.yaml"
    file.write_text(text)
    return load_fleet(file)


def _problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        _load(folder, text)
    return [problem.text for problem in refused.value.problems]


def test_boxes_come_in_the_order_of_the_file_with_how_each_is_reached(tmp_path: Path) -> None:
    said = "boxes:\n  attic:\n  box2: {ssh: ann@box2.lan}\n  box3: {ssh: box3, socket: /srv/c/run/engine.sock, drained: true}\n"
    settings = _load(tmp_path, said)
    assert list(settings.boxes.items()) == [
        ("attic", BoxEntry()),
        ("box2", BoxEntry(ssh="ann@box2.lan")),
        ("box3", BoxEntry("box3", "/srv/c/run/engine.sock", drained=True)),
    ]
    assert settings.rules == Rules()


def test_a_box_has_one_way_and_is_one_engine_by_whatever_way(tmp_path: Path) -> None:
    assert _load(tmp_path, "boxes: {a: {}, b: {ray: b}}\n").boxes["b"] == BoxEntry(ray="b")
    assert BoxEntry(ray="b").address != BoxEntry(ssh="b").address
    said = "boxes: {a: {ssh: x, ray: x}, b: {ray: c}, c: {ssh: c}}\n"
    assert [problem.partition(";")[0] for problem in _problems(tmp_path, said)] == [
        "fleet.yaml: boxes.a: it has two ways",
        "fleet.yaml: boxes.c: it is the same engine as b",
    ]


def test_order_and_what_may_be_where_are_the_operators(tmp_path: Path) -> None:
    said = "boxes: {a: {}, b: {ssh: b}}\norder: [b, a]\nmodels:\n  phi-3-mini: {only: [b]}\n  bge-base: {order: [a]}\n"
    settings = _load(tmp_path, said)
    assert settings.rules == Rules(("b", "a"), {"phi-3-mini": Rule(only=("b",)), "bge-base": Rule(order=("a",))})


def test_the_door_is_said_as_an_engines_is(tmp_path: Path) -> None:
    assert _load(tmp_path, "boxes: {a: {}}\nhttp: {listen: '127.0.0.1:8485'}\n").http.listen == "127.0.0.1:8485"


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    said = (
        "boxes:\n  Box1: {}\n  b: {ssh: -oProxyCommand=x}\n  c: {socket: run/engine.sock}\n  d: {drainde: true}\n"
        "order: [b, e, b]\nmodels:\n  'no name': {only: [b]}\n  m: {only: []}\n  n: {only: [f]}\nhttp: {listen: here}\nboxs: {}\n"
    )
    problems = "\n".join(_problems(tmp_path, said))
    for words in (
        "'Box1' is given as a box's name; allowed: 1 to 32 of a-z 0-9 - starting with a letter",
        "boxes.b.ssh: '-oProxyCommand=x' is given; allowed: what ssh calls the machine",
        "boxes.c.socket: 'run/engine.sock' is given; allowed: the absolute path",
        "boxes.d.drainde: there is no such key; allowed: ssh, socket, drained, ray; did you mean drained?",
        "order: there is no box e; allowed: Box1, b, c, d",
        "order: b is given more than once",
        "'no name' is given as a model's name",
        "models.m.only: no box may hold it",
        "models.n.only: there is no box f",
        "http.listen: 'here' is given; allowed: HOST:PORT",
        "boxs: there is no such key",
    ):
        assert words in problems


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "boxes: the fleet has no box"),
        ("boxes: 3", "boxes: 3 is given; allowed: a table"),
        ("boxes: [a, b]", "boxes: a list is given; allowed: a table"),
        ("boxes: {1: {}}", "boxes: 1 is given as a box's name; allowed: 1 to 32 of a-z"),
        ("- a", "a list is given"),
        ("boxes: {a: {}, b: {}}", "boxes.b: it is the same engine as a"),
        ("boxes: {a: {}, a: {ssh: b}}", "boxes.a: the key is given more than once"),
        ("boxes: {a: 3}", "boxes.a: 3 is given"),
        ("boxes: {a: {}}\nmodels: [x]", "models: a list is given"),
        ("boxes: {a: {}}\norder: a", "order: 'a' is given"),
        ("boxes: {a: {", "not YAML in line 1"),
    ],
)
def test_what_is_no_fleet_is_refused_in_words(tmp_path: Path, said: str, words: str) -> None:
    assert any(words in problem for problem in _problems(tmp_path, said))


def test_a_file_that_is_missing_is_told_from_one_that_is_empty(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the file is missing"):
        load_fleet(tmp_path / "fleet.yaml")
