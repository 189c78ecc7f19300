"""One colour a model: who has which, and that each theme's are told apart, also by the colour-blind."""

from __future__ import annotations

import math
from itertools import combinations
from operator import mul
from typing import Final, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citadel_tui.theme import THEMES
from citadel_tui.viewmodel.dashboard.device_rows import device_rows
from citadel_tui.viewmodel.dashboard.rows import model_rows
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.log import log_lines
from citadel_tui.viewmodel.model_colours import BLOCKS, ModelColours
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from engine.core.records import Switch
from tests.scripted_plans import START_S
from tests.tui.busy_engines import busy_engine

Rgb: TypeAlias = tuple[float, float, float]
names: Final = st.lists(st.text("abcdefgh-0123456789", min_size=1, max_size=12), unique=True, max_size=40)


@given(names, names)
def test_a_model_keeps_its_colour_whoever_comes_or_goes(first: list[str], later: list[str]) -> None:
    before = ModelColours().with_models(first)
    after = before.with_models(later)
    assert all(after.block(name) == before.block(name) for name in first)


@given(names)
def test_no_colour_is_shared_while_another_is_free(models: list[str]) -> None:
    colours = ModelColours().with_models(models)
    shared = [sum(colours.block(name) == block for name in models) for block in BLOCKS]
    assert max(shared) - min(shared) <= 1


def test_a_model_has_the_same_colour_on_each_machine() -> None:
    assert ModelColours().block("bge-base") == ModelColours().with_models(["bge-base"]).block("bge-base") == "block-2"


async def test_bars_table_and_log_agree() -> None:
    engine = await busy_engine()
    snapshot, records = await engine.snapshot(), await engine.records()
    colours = ModelColours().with_models(snapshot.state.models)
    scene = Scene(START_S, None, snapshot, records, colours=colours)
    paper = Paper(160, UNICODE, colours)
    wanted = colours.block("phi-3-mini")
    bars = device_rows(scene, paper, 20).lines
    assert any(span.text == UNICODE.edge and span.role == wanted for span in bars[0])
    assert {row.block for row in model_rows(scene, UNICODE) if row.name == "phi-3-mini"} == {wanted}
    log = log_lines(records, paper)
    came = [r.seq for r in records if isinstance(r.entry, Switch) and r.entry.plan.load]
    assert any(span == (UNICODE.swatch, wanted) for seq in came for span in log[seq])


# ── told apart ────────────────────────────────────────────────────────────────────────────────────

SEEN_BY: Final[dict[str, tuple[Rgb, Rgb, Rgb]]] = {
    "most": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopes": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deuteranopes": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritanopes": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
"""What of linear red, green and blue each sees: Machado, Oliveira and Fernandes 2009, at full severity."""
TERMINALS: Final = {
    "xterm": "#00cdcd #cdcd00 #5c5cff #cd00cd #0000ee",
    "vga": "#00aaaa #aa5500 #5555ff #aa00aa #0000aa",
    "tango": "#06989a #c4a000 #729fcf #75507b #3465a4",
}
"""What terminals make of cyan, yellow, bright blue, magenta and blue."""
JUST_NOTICEABLE: Final = 2.3
"""CIE76: the least distance that two colours side by side are told apart by."""


def linear(colour: str) -> Rgb:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return _linear(red), _linear(green), _linear(blue)


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def seen(colour: str, by: str) -> Rgb:
    """In CIELAB, where distances are as far as they look."""
    shown = linear(colour)
    r, g, b = (min(max(sum(map(mul, row, shown)), 0.0), 1.0) for row in SEEN_BY[by])
    x, y, z = 0.434 * r + 0.376 * g + 0.190 * b, 0.2126 * r + 0.7152 * g + 0.0722 * b, 0.018 * r + 0.109 * g + 0.873 * b
    fx, fy, fz = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def apart(colours: list[str]) -> float:
    """How far the two that are most alike are apart, for those who tell them apart the least."""
    return min(math.dist(seen(one, by), seen(other, by)) for by in SEEN_BY for one, other in combinations(colours, 2))


def palette(theme: str) -> list[str]:
    variables = next(known.variables for known in THEMES if known.name == theme)
    return [variables[block] for block in BLOCKS]


def brightness(colour: str) -> float:
    r, g, b = linear(colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05


@pytest.mark.parametrize(("theme", "background"), [("citadel", "#10151b"), ("citadel-light", "#fbfbf8")])
def test_a_themes_colours_are_told_apart_and_stand_out(theme: str, background: str) -> None:
    colours = palette(theme)
    assert apart(colours) > 6 * JUST_NOTICEABLE
    for colour in colours:
        darker, lighter = sorted((brightness(colour), brightness(background)))
        assert lighter / darker > 3, colour


@pytest.mark.parametrize("terminal", TERMINALS)
@pytest.mark.parametrize("foreground", ["#e5e5e5", "#aaaaaa", "#000000"])
def test_the_terminals_own_colours_are_told_apart_on_dark_and_on_light(terminal: str, foreground: str) -> None:
    own = dict(zip(("cyan", "yellow", "bright_blue", "magenta", "blue"), TERMINALS[terminal].split(), strict=True))
    shown = {**own, "default": foreground}
    colours = [shown[colour.removeprefix("ansi_")] for colour in palette("citadel-ansi")]
    assert len(set(colours)) == len(BLOCKS)
    assert apart(colours) > 2 * JUST_NOTICEABLE
