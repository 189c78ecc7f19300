"""Takes the README's moving picture: a short session with the real program, over a real engine, in its own time.

`python -m screenshots.film` writes `session-80x24.gif` beside this file; without rsvg-convert it only says so. Every frame is the
screen as it was; frames that look alike are one, and no frame stays for longer than it takes to read.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image, ImageColor

from engine.client import connect
from engine.core.commands import ForceCpu, Load, SetPin, Single
from engine.paths import Paths
from screenshots.camera import SMALL, Camera, camera
from screenshots.pictures import CONVERTER, FOLDER, can_convert, image_of
from screenshots.stage import own_engine, work

BEFORE: Final[tuple[Single, ...]] = (
    Load("all-MiniLM-L6-v2", "gpu1"),
    ForceCpu("e5-small"),
    Load("phi-3-mini", "gpu0"),
    SetPin("all-MiniLM-L6-v2"),
)
"""What has happened when the film begins: bge-base has never been loaded, so that preparing it takes a while."""
EVERY_S: Final = 0.1
"""Between two looks at the screen."""
LONGEST_S: Final = 2.5
"""A frame stays for no longer: waiting is cut."""
LAST_S: Final = 3.0
"""Before the film begins anew."""
WIDTH: Final = 820
"""In pixels: as wide as a page shows it."""
FILL: Final = re.compile(r'fill(?::\s*|=")(#[0-9a-fA-F]{6})')
BACKGROUND: Final = "#10151b"
"""Of the dark look, behind nearly all text."""
SHARES: Final = (1.0, 0.75, 0.5, 0.25)


class Frame(NamedTuple):
    """What the screen looked like from `at_s` on."""

    at_s: float
    svg: str


class Film:
    """The distinct frames of a session, under the caption of what is being done."""

    def __init__(self, shot: Camera) -> None:
        self.frames: Final[list[Frame]] = []
        self._shot = shot
        self._caption = ""

    async def roll(self) -> None:
        """Look at the screen until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(EVERY_S)

    def look(self) -> None:
        svg = self._shot.drawn(self._caption)
        if not self.frames or self.frames[-1].svg != svg:
            self.frames.append(Frame(time.monotonic(), svg))

    async def act(self, caption: str, *keys: str, seen: str, read_s: float) -> None:
        """Press the keys under the caption, wait for what they bring, and leave a person time to read it."""
        self._caption = caption
        await self._shot.press(*keys)
        await self._shot.sees(seen)
        await asyncio.sleep(read_s)


@asynccontextmanager
async def filming(shot: Camera) -> AsyncIterator[Film]:
    film = Film(shot)
    rolling = asyncio.create_task(film.roll())
    try:
        yield film
        film.look()
    finally:
        rolling.cancel()
        with suppress(asyncio.CancelledError):
            await rolling


async def take_session(paths: Paths) -> Sequence[Frame]:
    """A load that needs another model's place, its waterfall, and the undo that takes it back."""
    async with camera(paths, SMALL) as shot:
        await shot.select("bge-base")
        async with filming(shot) as film:
            await film.act("citadel: two virtual GPUs, four models", seen="MODELS", read_s=2.5)
            await film.act("l: load bge-base", "l", seen="on which device", read_s=1.2)
            await film.act("down: on gpu0", "down", seen="gpu0", read_s=0.8)
            await film.act("enter: who leaves, how long it takes, why", "enter", seen="[Cancel]", read_s=3.5)
            await film.act("y: do it; its first load prepares it", "y", seen="done in", read_s=2.5)
            await film.act("tab, enter: where the time went", "tab", "home", "enter", seen="Phases", read_s=3.5)
            await film.act("esc: back", "escape", "tab", seen="MODELS", read_s=0.8)
            await film.act("u: undo, after showing what that does", "u", seen="[Cancel]", read_s=3.0)
            await film.act("y: do it; prepared models come from RAM", "y", seen="undo", read_s=2.5)
        return film.frames


def save_film(frames: Sequence[Frame], path: Path) -> None:
    """As an animated GIF in one palette, which loops."""
    palette = palette_of([frame.svg for frame in frames])
    images = [image_of(frame.svg, WIDTH).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    stays_s = [min(after.at_s - frame.at_s, LONGEST_S) for frame, after in pairwise(frames)]
    durations_ms = [round(1000 * stay_s) for stay_s in (*stays_s, LAST_S)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations_ms, loop=0)


def palette_of(svgs: Sequence[str]) -> Image.Image:
    """The colours that the frames are drawn in, most used first, and their way to the background, for smooth letters."""
    used = Counter(colour for svg in svgs for colour in FILL.findall(svg))
    colours = [ImageColor.getrgb(colour)[:3] for colour, _ in used.most_common(256 // len(SHARES))]
    background = ImageColor.getrgb(BACKGROUND)[:3]
    steps = [
        round(share * part + (1 - share) * under)
        for share in SHARES
        for colour in colours
        for part, under in zip(colour, background, strict=True)
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette(steps)
    return palette


async def main() -> None:
    if not can_convert():
        sys.stderr.write(f"no film was taken: {CONVERTER} is not installed (Debian: librsvg2-bin)\n")
        return
    async with own_engine() as paths:
        await work(await connect(paths), BEFORE)
        frames = await take_session(paths)
    save_film(frames, FOLDER / "session-80x24.gif")


if __name__ == "__main__":
    asyncio.run(main())
