"""The README's film: frames in one palette, each for as long as it was seen, but no longer than it takes to read."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageSequence

from screenshots.film import LAST_S, LONGEST_S, WIDTH, Frame, palette_of, save_film
from screenshots.pictures import can_convert

needs_converter = pytest.mark.skipif(not can_convert(), reason="rsvg-convert is not installed")


def drawn(colour: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60"><rect width="90" height="60" fill="{colour}"/></svg>'


@needs_converter
def test_a_film_keeps_its_own_time_but_cuts_the_waiting_and_loops(tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    save_film([Frame(5.0, drawn("#ff0000")), Frame(5.5, drawn("#00ff00")), Frame(60.0, drawn("#0000ff"))], path)
    with Image.open(path) as film:
        assert (film.width, film.info["loop"]) == (WIDTH, 0)
        stays_ms = [frame.info["duration"] for frame in ImageSequence.Iterator(film)]
    assert stays_ms == [500, 1000 * LONGEST_S, 1000 * LAST_S]


@needs_converter
def test_a_rare_colour_is_not_lost_among_the_others(tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    save_film([Frame(0.0, drawn("#10151b")), Frame(1.0, drawn("#10151b")), Frame(2.0, drawn("#f07178"))], path)
    with Image.open(path) as film:
        colours = [frame.convert("RGB").getpixel((400, 300)) for frame in ImageSequence.Iterator(film)]
    assert colours[-1] == (0xF0, 0x71, 0x78)


def test_a_palette_holds_no_more_colours_than_a_gif_can() -> None:
    palette = palette_of([drawn(f"#{number:06x}") for number in range(0, 300_000, 1000)]).getpalette()
    assert palette is not None
    assert len(palette) == 3 * 256
