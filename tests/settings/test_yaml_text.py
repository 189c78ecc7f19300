"""One entry of a YAML file set or taken out, and nothing else touched."""

from __future__ import annotations

import pytest

from engine.settings.yaml_text import NotSet, with_value, without_key


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


def test_a_table_is_put_first_in_its_table_as_one_line() -> None:
    text = "# mine\nboxes:  # in order\n  a: {}  # the loud one\norder: [a]\n"
    after = "# mine\nboxes:  # in order\n  b: {ray: ann@b}\n  a: {}  # the loud one\norder: [a]\n"
    assert with_value(text, ("boxes",), "b", {"ray": "ann@b"}) == after


def test_what_yaml_would_take_for_something_else_is_quoted() -> None:
    assert with_value("boxes: {}", ("boxes",), "b", {"ray": "no"}) == "boxes: {b: {ray: 'no'}}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  a: {}\n  # of b\n  b: {ssh: b}  # old\n  # of c\n  c: {}\n", "  a: {}\n  # of b\n  # of c\n  c: {}\n"),
        ("  b:\n    ssh: b\n    socket: /s  # here\n\n  c: {}\n", "\n  c: {}\n"),
        ("  a: {}\n  b:\n    ssh: b", "  a: {}\n"),
        ("  a: {}\n  b:\n", "  a: {}\n"),
        ("  {a: {}, b: {ssh: b}, c: {}}\n", "  {a: {}, c: {}}\n"),
        ("  {a: {}, b: {ssh: b}}\n", "  {a: {}}\n"),
        ("  {b: {ssh: b}}\n", "  {}\n"),
    ],
)
def test_an_entry_goes_with_the_comment_on_its_line_and_all_else_is_as_it_was(before: str, after: str) -> None:
    text = f"# mine\nboxes:\n{before}"
    assert without_key(text, ("boxes",), "b") == f"# mine\nboxes:\n{after}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("boxes: {a: {}}", "boxes has no b"),
        ("boxes: [b]", "boxes has no b"),
        ("other: {}", "there is no boxes"),
        ("boxes:\n  b: &x {ssh: b}\n  c: *x\n", "other entries would change"),
        ("boxes:\n  b: {}\n", "other entries would change"),
    ],
)
def test_what_can_t_be_taken_out_so_is_refused(text: str, words: str) -> None:
    with pytest.raises(NotSet, match=words):
        without_key(text, ("boxes",), "b")
