"""Takes the README's pictures from the real program: a real engine with real work behind it, in a Citadel home of its own.

`python -m screenshots.make` writes an SVG of each screen and size beside this file, and a PNG where rsvg-convert is installed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Final

from textual.pilot import Pilot

from citadel_tui.app import CitadelApp
from citadel_tui.look import Look
from citadel_tui.text import clean
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.widgets.lines import LineView
from citadel_tui.widgets.table import ModelTable
from engine.api import Declined, EngineAPI, Updated
from engine.client import connect
from engine.core.commands import Command, ForceCpu, Load, SetPin, Submission
from engine.core.names import ModelName
from engine.core.plans import Plan
from engine.paths import Paths, find_paths
from engine.spawn import ensure_engine, wait_until_gone

FOLDER: Final = Path(__file__).parent
CONFIG: Final = FOLDER.parent / "config"
SIZES: Final = ((80, 24), (160, 50))
PATIENCE_S: Final = 60.0

STORY: Final[tuple[Command, ...]] = (
    Load("all-MiniLM-L6-v2", "gpu1"),
    Load("bge-base", "gpu0"),
    ForceCpu("e5-small"),
    Load("phi-3-mini", "gpu0"),
    SetPin("all-MiniLM-L6-v2"),
    Load("bge-base", "gpu0"),
    Load("phi-3-mini", "gpu0"),
)
"""The first loads prepare the models; the last two come from the RAM tier, as switches do from then on."""
TEXTS: Final = ["a cat", "a kitten", "a stock market"]


@asynccontextmanager
async def own_engine() -> AsyncIterator[Paths]:
    """An engine of our own, which is gone with its folder afterwards."""
    home = tempfile.mkdtemp(prefix="citadel-")
    os.environ["CITADEL_HOME"] = home
    paths = find_paths(os.environ)
    try:
        await ensure_engine(paths, CONFIG)
        yield paths
        await (await connect(paths)).stop()
        await wait_until_gone(paths)
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def work(engine: EngineAPI) -> None:
    """Something to see: models on every device, requests counted, a victim, a pin, a model on the CPU."""
    async for event in engine.events():
        devices = event.snapshot.state.devices.values() if isinstance(event, Updated) else ()
        if devices and all(device.reading.health == "ok" for device in devices):
            break
    for number, command in enumerate(STORY):
        await carry_out(engine, command, f"picture-{number}")
        await use(engine, command.model)


async def carry_out(engine: EngineAPI, command: Command, id: str) -> None:
    """Submits the command until it is done: a model that came only just now may not leave yet."""
    async with asyncio.timeout(PATIENCE_S):
        for attempt in count():
            answer = await engine.submit(Submission(f"{id}-{attempt}", command))
            if not isinstance(answer, Declined):
                return
            await asyncio.sleep(0.5)


async def use(engine: EngineAPI, model: ModelName) -> None:
    if model == "phi-3-mini":
        await engine.generate(model, "The citadel", max_tokens=16)
        return
    for _ in range(4):
        await engine.embed(model, TEXTS)


async def take(paths: Paths, size: tuple[int, int]) -> None:
    """The dashboard, the preview of a plan with a victim, and the details of a model."""

    async def attach() -> EngineAPI:
        return await connect(paths)

    app = CitadelApp(attach, Look(UNICODE, "citadel"), read_only=False)
    async with app.run_test(size=size) as pilot:
        await sees(pilot, "bge-base")
        table = app.screen.query_one(ModelTable)
        table.put_cursor("phi-3-mini")
        await pilot.pause()
        save(app, "dashboard", size)
        await pilot.press("enter")
        await sees(pilot, "Phases")
        save(app, "details", size)
        await pilot.press("escape")
        await show_preview(app, await attach())
        await sees(pilot, "[Cancel]")
        save(app, "preview", size)


async def show_preview(app: CitadelApp, engine: EngineAPI) -> None:
    """The preview of what would bring bge-base back; nobody agrees to it here."""
    from citadel_tui.screens.preview import Preview

    plan = await engine.plan(Load("bge-base"))
    if not isinstance(plan, Plan):
        raise RuntimeError(f"no picture of a preview: {plan.reason}")
    app.push_screen(Preview(plan, UNICODE, clean, changed=False))


async def sees(pilot: Pilot[int], text: str) -> None:
    await until(lambda: any(text in view.plain for view in pilot.app.screen.query(LineView)), pilot)


async def until(met: Callable[[], bool], pilot: Pilot[int]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not met():
            await pilot.pause(0.05)


def save(app: CitadelApp, screen: str, size: tuple[int, int]) -> None:
    """The SVG, and its PNG where the converter is installed."""
    path = FOLDER / f"{screen}-{size[0]}x{size[1]}.svg"
    drawn = app.export_screenshot(title="citadel")
    path.write_text(drawn, encoding="utf-8")
    if converter := shutil.which("rsvg-convert"):
        # The converter drops blanks at the beginning of a text unless it is told to keep them.
        kept = drawn.replace("<text ", '<text xml:space="preserve" ')
        command = [converter, "--output", str(path.with_suffix(".png"))]
        subprocess.run(command, input=kept.encode(), check=True)


async def main() -> None:
    async with own_engine() as paths:
        await work(await connect(paths))
        for size in SIZES:
            await take(paths, size)


if __name__ == "__main__":
    asyncio.run(main())
