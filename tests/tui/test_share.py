"""What leaves the console: copied text and commands, and pictures of the screen."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import pytest

from citadel_tui.dated_files import told
from citadel_tui.share import LIMIT_BYTES, bounded, sequence
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import open_console

ROW = (
    "phi-3-mini (synthetic): gpu0, ready, 480 MiB, 0 leases, 2 waiting, 12.3 requests a minute, 7.3 tokens a second, "
    "first part 360 ms, p95 12.4 s of 31 answers, idle 1m, last switch 0.20 s"
)
PLAN = """\
LEAVES phi-3-mini (synthetic) from gpu0 (480 MiB)
loads bge-base (synthetic) on gpu0 (438 MiB), from the RAM tier"""


async def test_y_copies_the_row_and_the_status_line_says_what() -> None:
    async with open_console(await busy_engine()) as console:
        await console.select("phi-3-mini")
        await console.press("y")
        await console.sees("copied: phi-3-mini (synthetic): gpu0, ready")
        assert console.app.clipboard == ROW


async def test_marked_rows_are_copied_a_line_each() -> None:
    async with open_console(await busy_engine()) as console:
        for model in ("phi-3-mini", "bge-base"):
            await console.select(model)
            await console.press("space")
        await console.press("ctrl+y")
        await console.sees("copied 2 lines: ")
        assert len(console.app.clipboard.splitlines()) == 2


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("phi-3-mini", "citadel load phi-3-mini --on gpu0"),
        ("e5-small", "citadel cpu e5-small"),
        ("bge-base", "citadel load bge-base"),
    ],
)
async def test_the_command_of_a_row_brings_the_model_to_where_it_is(model: str, line: str) -> None:
    async with open_console(await busy_engine()) as console:
        await console.select(model)
        await console.press("Y")
        await console.sees(f"copied: {line}")


async def test_in_the_log_the_record_is_copied_and_its_command() -> None:
    async with open_console(await busy_engine()) as console:
        await console.press("tab", "Y")
        await console.sees("Command: there is none that would do this")
        await console.press("down", "y")
        await console.sees("pin all-MiniLM-L6-v2")
        assert console.app.clipboard.endswith("pin all-MiniLM-L6-v2")
        await console.press("Y")
        await console.sees("copied: citadel pin all-MiniLM-L6-v2")


async def test_a_preview_is_copied_as_citadel_plan_prints_it_and_y_still_means_yes() -> None:
    engine = await busy_engine()
    before = len(engine.submissions)
    async with open_console(engine) as console:
        await console.select("bge-base")
        await console.press("l", "down", "enter")
        await console.sees("[Cancel]")
        await console.press("ctrl+y")
        await console.until(lambda: console.app.clipboard.startswith(PLAN))
        await console.press("Y")
        await console.until(lambda: console.app.clipboard == "citadel load bge-base --on gpu0")
        assert len(engine.submissions) == before
        await console.press("y")
        await console.until(lambda: len(engine.submissions) > before)


async def test_the_page_of_a_switch_is_copied_as_its_record() -> None:
    async with open_console(await busy_engine()) as console:
        await console.press("tab", "down", "down", "down", "enter")
        await console.sees("Phases")
        await console.press("y")
        await console.until(lambda: "phi-3-mini (synthetic) → gpu0, out: bge-base" in console.app.clipboard)


async def test_any_other_page_is_copied_as_it_stands() -> None:
    async with open_console(await busy_engine()) as console:
        await console.press("t")
        await console.sees("Kept, the first to go")
        await console.press("y")
        await console.until(lambda: "Kept, the first to go" in console.app.clipboard)


@pytest.mark.parametrize("keys", [(), ("t",), ("l",)], ids=["dashboard", "page", "list"])
async def test_a_picture_is_saved_of_any_screen(citadel_home: Path, keys: tuple[str, ...]) -> None:
    async with open_console(await busy_engine()) as console:
        await console.select("bge-base")
        await console.press(*keys, "S")
        folder = citadel_home / "state" / "screenshots"
        await console.until(lambda: list(folder.glob("*.svg")))
        assert next(folder.glob("*.svg")).read_text().startswith("<svg")
        await console.press("escape")
        await console.until(lambda: len(console.app.screen_stack) == 1)


@pytest.mark.parametrize(
    ("home", "words"),
    [("/home/ann", "~/state/a.svg"), ("/home/an", "/home/ann/state/a.svg"), (None, "/home/ann/state/a.svg")],
)
def test_a_file_below_the_operators_home_is_told_from_there(home: str | None, words: str) -> None:
    assert told(Path("/home/ann/state/a.svg"), home) == words


async def test_a_picture_that_can_not_be_saved_says_why(citadel_home: Path) -> None:
    (citadel_home / "state").write_text("a file where a folder should be")
    async with open_console(await busy_engine()) as console:
        await console.press("S")
        await console.sees("no picture was saved")


def payload(written: str) -> str:
    return b64decode(written.split("52;c;")[1].split("\a")[0]).decode()


def test_a_plain_terminal_gets_one_sequence() -> None:
    assert sequence("naïve", {"TERM": "xterm"}) == "\x1b]52;c;bmHDr3Zl\a"


def test_tmux_gets_it_bare_and_wrapped_with_doubled_escapes() -> None:
    written = sequence("text", {"TERM": "screen-256color", "TMUX": "/tmp/tmux-0/default,1,0"})
    assert written.startswith("\x1b]52;c;")
    assert "\x1bPtmux;\x1b\x1b]52;c;" in written
    assert written.endswith("\a\x1b\\")


def test_gnu_screen_gets_it_in_pieces_that_it_takes() -> None:
    text = "a figure " * 300
    pieces = sequence(text, {"TERM": "screen"}).split("\x1b\\")[:-1]
    assert all(piece.startswith("\x1bP") and len(piece) < 768 for piece in pieces)
    assert payload("".join(piece.removeprefix("\x1bP") for piece in pieces)) == text


def test_what_is_too_long_for_a_terminal_is_cut_between_characters() -> None:
    short = bounded("é" * LIMIT_BYTES)
    assert len(sequence(short, {})) <= 100_000
    assert set(short) == {"é"}
