"""The console in a real terminal comes back as it was left, and says which file it can't use."""

from __future__ import annotations

from pathlib import Path

from tests.pty.terminal import console, terminal


def test_what_was_chosen_is_there_the_next_time(citadel_home: Path) -> None:
    with terminal(*console("quiet")) as term:
        term.until("phi-3-mini")
        term.until("Quit")
        term.send(b"s")
        term.until("by name")
        term.send(b"q")
        assert term.wait() == 0
    assert "\nsort: name\n" in (citadel_home / "console.yaml").read_text(encoding="utf-8")
    with terminal(*console("quiet")) as term:
        term.until("by name")


def test_a_console_that_is_left_as_it_was_found_writes_nothing(citadel_home: Path) -> None:
    with terminal(*console("quiet")) as term:
        term.until("phi-3-mini")
        term.send(b"q")
        assert term.wait() == 0
    assert not (citadel_home / "console.yaml").exists()


def test_a_file_with_a_mistake_is_named_and_stays(citadel_home: Path) -> None:
    file = citadel_home / "console.yaml"
    file.write_text("sort: colour\n", encoding="utf-8")
    with terminal(*console("quiet"), size=(200, 24)) as term:
        term.until("console.yaml is ignored, and stays as it is")
        term.send(b"\x1bsq")
        assert term.wait() == 0
    assert file.read_text(encoding="utf-8") == "sort: colour\n"
