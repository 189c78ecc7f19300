"""What is typed is handed on, and nobody wakes while nothing is."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from threading import Thread
from typing import Any

import pytest
from textual._xterm_parser import XTermParser
from textual.events import Key
from textual.message import Message

from citadel_tui.terminal import typed
from citadel_tui.terminal.typed import read_typed


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """How long each look for what is typed may take, seconds; None: until there is something."""
    found: list[float | None] = []
    wait = select.select

    def counted(*arguments: Any) -> Any:  # noqa: ANN401 - as the function that it stands for
        found.append(arguments[3])
        return wait(*arguments)

    monkeypatch.setattr(select, "select", counted)
    return found


@contextmanager
def reading() -> Iterator[tuple[int, Queue[Message]]]:
    """Where to type, and what comes of it; at the end the thread has ended."""
    terminal, keyboard = os.pipe()
    end, ender = os.pipe()
    handed: Queue[Message] = Queue()
    thread = Thread(target=read_typed, args=(terminal, end, XTermParser(), handed.put))
    thread.start()
    try:
        yield keyboard, handed
    finally:
        os.write(ender, b"\0")
        thread.join(10)
        assert not thread.is_alive()
        for descriptor in (terminal, keyboard, end, ender):
            os.close(descriptor)


def key(handed: Queue[Message]) -> str:
    message = handed.get(timeout=10)
    assert isinstance(message, Key)
    return message.key


def test_between_keys_it_sleeps_until_there_is_one(looks: list[float | None]) -> None:
    with reading() as (keyboard, handed):
        for letter in "ab":
            os.write(keyboard, letter.encode())
            assert key(handed) == letter
    assert looks == [None, None, None]


def test_an_escape_alone_is_a_key_and_is_waited_for_no_longer_than_that(looks: list[float | None]) -> None:
    with reading() as (keyboard, handed):
        os.write(keyboard, b"\x1b")
        assert key(handed) == "escape"
        os.write(keyboard, b"\x1b[")
        os.write(keyboard, b"A")
        assert key(handed) == "up"
    assert looks[0] is None
    assert typed._LOOK_S in looks
    assert looks[-1] is None


def test_half_a_character_waits_for_the_other_half() -> None:
    with reading() as (keyboard, handed):
        os.write(keyboard, "é".encode()[:1])
        os.write(keyboard, "é".encode()[1:])
        message = handed.get(timeout=10)
    assert isinstance(message, Key)
    assert message.character == "é"


def test_where_whoever_typed_has_gone_it_ends() -> None:
    terminal, keyboard = os.pipe()
    end, ender = os.pipe()
    os.write(keyboard, b"a")
    os.close(keyboard)
    handed: Queue[Message] = Queue()
    read_typed(terminal, end, XTermParser(), handed.put)
    assert key(handed) == "a"
    for descriptor in (terminal, end, ender):
        os.close(descriptor)
