"""The pages of the RAM tier and of a model's past."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from citadel_tui.viewmodel.glyphs import ASCII, UNICODE, Glyphs
from citadel_tui.viewmodel.pages.model import model_lines, residency_lines
from citadel_tui.viewmodel.pages.tier import tier_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, width_of
from engine.core.models import Limits
from engine.core.policy import Eviction, Policy
from engine.core.sizes import MIB
from engine.core.state import Slab
from tests.scripted_plans import START_S
from tests.tui.busy_engines import busy_engine


async def busy_scene(*slabs: Slab, eviction: Eviction = "expected_loss") -> Scene:
    """The busy engine's, with these slabs in its RAM tier, or with its own two."""
    engine = await busy_engine()
    snapshot = await engine.snapshot()
    if slabs:
        state = replace(snapshot.state, ram=replace(snapshot.state.ram, slabs=slabs))
        snapshot = replace(snapshot, state=state)
    hello = replace(await engine.hello(), policy=Policy(eviction=eviction))
    return Scene(START_S + 60, hello, snapshot, await engine.records())


def texts(lines: tuple[Line, ...]) -> list[str]:
    return ["".join(span.text for span in line).strip() for line in lines]


async def test_the_tier_lists_what_goes_first_on_top_and_says_why() -> None:
    found = texts(tier_lines(await busy_scene(), Paper(120, UNICODE)))
    assert "818 MiB of 1.0 GiB" in found[1]
    at = found.index("Kept, the first to go on top, in MiB")
    assert found[at + 1].startswith("1. phi-3-mini    400  used 1 min ago")
    assert found[at + 2].startswith("is on gpu0 as well, so it goes before copies of models that are nowhere else")
    assert found[at + 3].startswith("2. bge-base      418")
    assert found[at + 4].startswith("saves a reading from disk, predicted")


async def test_the_tier_is_listed_in_the_order_of_the_engines_own_policy() -> None:
    """phi-3-mini was asked for the most often, and the longest ago."""
    slabs = Slab("all-MiniLM-L6-v2", 90 * MIB, "kept", START_S), Slab("phi-3-mini", 400 * MIB, "kept", START_S)

    async def first(eviction: Eviction) -> str:
        found = texts(tier_lines(await busy_scene(*slabs, eviction=eviction), Paper(120, UNICODE)))
        return found[found.index("Kept, the first to go on top, in MiB") + 1].split()[1]

    assert await first("lru") == "phi-3-mini"
    assert await first("lfu") == "all-MiniLM-L6-v2"


async def test_what_the_cpu_runs_from_is_listed_apart_and_what_is_being_read_is_said() -> None:
    slabs = Slab("e5-small", 128 * MIB, "kept", START_S), Slab("bge-base", 418 * MIB, "reading", START_S)
    found = texts(tier_lines(await busy_scene(*slabs), Paper(120, UNICODE)))
    at = found.index("The CPU runs from these, and pays for them, in MiB")
    assert found[at + 1].startswith("1. e5-small    128")
    assert "is being read from disk" in found


async def test_a_damaged_slab_is_said_to_be_so() -> None:
    found = texts(tier_lines(await busy_scene(Slab("bge-base", 418 * MIB, "damaged", START_S)), Paper(120, UNICODE)))
    assert "is damaged: it goes once nobody runs on its bytes any more" in found


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [44, 60, 96])
async def test_the_pages_keep_within_their_width(width: int, glyphs: Glyphs) -> None:
    scene = await busy_scene()
    lines = (*tier_lines(scene, Paper(width, glyphs)), *residency_lines(scene, "bge-base", Paper(width, glyphs)))
    assert max(width_of(line) for line in lines) <= width
    assert not glyphs.plain or all(span.text.isascii() for line in lines for span in line)


async def test_a_models_past_says_when_it_came_and_for_whom_it_left() -> None:
    found = texts(residency_lines(await busy_scene(), "bge-base", Paper(100, UNICODE)))
    assert found[1] == "Where it has been"
    assert "left gpu0 for phi-3-mini, asked by an operator" in found[2]
    assert "came to gpu0 in 0.20 s, from the RAM tier, asked by an operator" in found[3]


async def test_pins_are_part_of_a_models_past() -> None:
    found = texts(residency_lines(await busy_scene(), "e5-small", Paper(100, UNICODE)))
    assert "was pinned to cpu" in found[2]
    assert residency_lines(await busy_scene(), "never-heard-of", Paper(100, UNICODE)) == ()


async def test_a_model_whose_texts_are_cut_says_where_and_why_there() -> None:
    scene = await busy_scene()
    assert scene.snapshot is not None
    known = scene.snapshot.state.models["bge-base"]
    cutting = replace(known.spec, limits=Limits(16, 64, truncate=True))
    remarked = replace(known, spec=cutting, remark="bge-base: max_sequence is lowered to 64")
    state = replace(scene.snapshot.state, models={**scene.snapshot.state.models, "bge-base": remarked})
    found = texts(
        model_lines(replace(scene, snapshot=replace(scene.snapshot, state=state)), "bge-base", Paper(120, UNICODE))
    )
    assert any(line.endswith("at most 16 rows of 64 tokens, longer texts are cut") for line in found)
    assert any(line.endswith("bge-base: max_sequence is lowered to 64") for line in found)


async def test_the_tier_says_why_a_slab_is_read_ahead() -> None:
    why = "4.0 s of reading while idle are expected to save 9.2 s of waiting"
    slabs = Slab("e5-small", 128 * MIB, "reading", START_S, why), Slab("bge-base", 418 * MIB, "kept", START_S, why)
    found = " ".join(texts(tier_lines(await busy_scene(*slabs), Paper(120, UNICODE))))
    assert f"is being read ahead: {why}" in found
    assert f"was read ahead: {why}; " in found
