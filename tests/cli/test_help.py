"""`citadel help`, and what is said where the console can't be shown."""

from __future__ import annotations

import io
import os

import pytest

from citadel_tui.actions import ACTIONS
from citadel_tui.viewmodel.glyphs import ASCII
from citadel_tui.viewmodel.pages.help import TOPICS
from citadel_tui.viewmodel.paper import Paper
from engine.core.records import Phases
from tests.cli.conftest import Citadel


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_help_lists_its_topics(citadel: Citadel) -> None:
    ran = await citadel("help")
    assert ran.status == 0
    assert all(f"citadel help {topic}" in ran.out for topic in TOPICS)


async def test_the_keys_are_those_of_the_registry(citadel: Citadel) -> None:
    out = " ".join((await citadel("help", "keys")).out.split())
    assert all(action.help in out for action in ACTIONS)


@pytest.mark.parametrize("topic", TOPICS)
async def test_every_topic_is_printed_and_keeps_within_the_width(citadel: Citadel, topic: str) -> None:
    ran = await citadel("help", topic)
    assert ran.status == 0
    assert max(map(len, ran.out.splitlines())) <= 100


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_can_be_shown_in_ascii(topic: str) -> None:
    lines = TOPICS[topic].lines(Paper(60, ASCII))
    assert all(span.text.isascii() for line in lines for span in line)


@pytest.mark.parametrize(
    "word",
    [
        "slab",
        "lease",
        "resident",
        "settle",
        "regret",
        "copy",
        "lane",
        "RAM tier",
        "victim",
        *Phases().__struct_fields__,
    ],
)
async def test_the_words_of_plans_and_figures_are_explained(citadel: Citadel, word: str) -> None:
    entries = [line[:13] for line in (await citadel("help", "words")).out.splitlines()]
    assert any(word in entry for entry in entries)


async def test_an_unknown_topic_is_answered_with_those_there_are(citadel: Citadel) -> None:
    ran = await citadel("help", "nonsense")
    assert ran.status == 2
    assert "'placement'" in ran.err


@pytest.mark.parametrize(
    ("term", "words"), [("dumb", "TERM=dumb can't show the console"), (None, "needs TERM to be set")]
)
async def test_a_terminal_that_can_not_show_the_console_is_told_the_plain_twins(
    citadel: Citadel, monkeypatch: pytest.MonkeyPatch, term: str | None, words: str
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stdout", Terminal())
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setitem(os.environ, "TERM", term)
    ran = await citadel()
    assert ran.status == 2
    assert words in ran.err
    assert "citadel status --watch --plain" in ran.err
