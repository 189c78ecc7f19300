"""Changes to the catalog's text keep all that they are not about, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.settings.catalog_text import with_aliases, with_entry, without_entry

SHIPPED = (Path(__file__).parents[2] / "config" / "model_gpu_mapping.json").read_text()
ENTRY = {"name": "mine", "source": "path:/models/mine", "task": "embedding", "aliases": ["ada", "Größe"]}
TABS = '{\n\t"models": [\n\t\t{"name": "a", "source": "path:/a"},\n\t\t{"name": "b",   "source": "path:/b"}\n\t]\n}\n'
ONE_LINE = '{"models": [{"name": "a"}, {"name": "b", "aliases": ["x"]}]}'
EMPTY = '{\n  "models": []\n}\n'
ALL = {
    "shipped": SHIPPED,
    "tabs": TABS,
    "one line": ONE_LINE,
    "empty": EMPTY,
    "bom": "\ufeff" + TABS,
    "crlf": TABS.replace("\n", "\r\n"),
}


def models(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text.removeprefix("\ufeff"))["models"]
    return found


@pytest.mark.parametrize("text", ALL.values(), ids=list(ALL))
def test_an_entry_comes_behind_the_others_and_goes_without_a_trace(text: str) -> None:
    added = with_entry(text, ENTRY)

    assert models(added) == [*models(text), ENTRY]
    assert without_entry(added, len(models(text))) == text


def test_an_entry_is_written_as_its_neighbours_are() -> None:
    assert with_entry(SHIPPED, {"name": "mine", "task": "embedding"}).endswith(
        '    },\n    {\n      "name": "mine",\n      "task": "embedding"\n    }\n  ]\n}\n'
    )
    assert with_entry(EMPTY, {"name": "mine"}) == '{\n  "models": [\n    {\n      "name": "mine"\n    }\n  ]\n}\n'
    assert with_entry(ONE_LINE, {"name": "mine"}).endswith('"aliases": ["x"]}, {"name": "mine"}]}')


@pytest.mark.parametrize("number", range(4))
def test_each_entry_can_go_and_the_others_stay_as_they_were(number: int) -> None:
    left = without_entry(SHIPPED, number)

    assert models(left) == [entry for at, entry in enumerate(models(SHIPPED)) if at != number]
    for line in left.splitlines():
        assert line in SHIPPED.splitlines()


@pytest.mark.parametrize(
    "text", [SHIPPED, TABS, ONE_LINE, '{"models": [{"name": "a"}, {"aliases": ["y"], "name": "b"}]}']
)
def test_aliases_are_put_beside_what_the_entry_says_and_taken_away_again(text: str) -> None:
    named = with_aliases(text, 1, ["ada", "text-embedding-3-small"])

    assert models(named)[1] == models(text)[1] | {"aliases": ["ada", "text-embedding-3-small"]}
    assert models(named)[0] == models(text)[0]
    bare = with_aliases(named, 1, [])
    assert models(bare)[1] == {key: value for key, value in models(text)[1].items() if key != "aliases"}
    if "aliases" not in models(text)[1]:
        assert bare == text


def test_only_the_list_of_models_is_touched_whatever_stands_beside_it() -> None:
    text = '{"note": {"models": [1, 2]}, "models": [{"name": "a", "x": "]},{"}], "z": [3]}'

    assert json.loads(with_entry(text, {"name": "b"})) == {
        "note": {"models": [1, 2]},
        "models": [{"name": "a", "x": "]},{"}, {"name": "b"}],
        "z": [3],
    }
