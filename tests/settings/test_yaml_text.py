"""One value of a YAML file set to another, and nothing else touched."""

from __future__ import annotations

import pytest

from engine.settings.yaml_text import NotSet, with_value


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("b: {}\n", "b: {drained: true}\n"),
        ("b: {ssh: b}  # the old one\n", "b: {drained: true, ssh: b}  # the old one\n"),
        ("b:\n", "b: {drained: true}\n"),
        ("b:   # nothing\nc: {}\n", "b: {drained: true}   # nothing\nc: {}\n"),
        ("b: null\n", "b: {drained: true}\n"),
        ("b: ~", "b: {drained: true}"),
        ("b:\n    # how\n    ssh: b\nc: {}\n", "b:\n    # how\n    drained: true\n    ssh: b\nc: {}\n"),
        ("b: {drained: false, ssh: b}\n", "b: {drained: true, ssh: b}\n"),
        ("b:\n  ssh: b\n  drained: no  # since May\n", "b:\n  ssh: b\n  drained: true  # since May\n"),
    ],
)
def test_it_is_set_where_the_table_is_and_all_else_is_as_it_was(before: str, after: str) -> None:
    text = "# mine\nboxes:\n  " + before.replace("\n", "\n  ").rstrip(" ")
    assert with_value(text, ("boxes", "b"), "drained", True) == "# mine\nboxes:\n  " + after.replace(
        "\n", "\n  "
    ).rstrip(" ")


def test_a_text_that_says_so_already_stays() -> None:
    assert with_value("b: {drained: true}", ("b",), "drained", True) == "b: {drained: true}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x {}\nb: *x\n", "other entries would change"),
        ("b: [1]", "b is no table"),
        ("c: {}", "there is no b"),
        ("", "there is no b"),
        ("b: {drained: }", "other entries would change"),
        ("b: {", "not YAML in line 1"),
    ],
)
def test_what_can_t_be_done_so_is_refused(text: str, words: str) -> None:
    with pytest.raises(NotSet, match=words):
        with_value(text, ("b",), "drained", True)
