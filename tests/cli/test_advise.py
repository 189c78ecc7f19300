"""`citadel advise`: the engine's own demand, a trace or generated demand, replayed on boxes that one doesn't have."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from citadel_tui.cli.advise import advice_text
from engine.paths import find_paths
from engine.simulation.advice import Advice, Saving, Suggestion
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine

HEADING = "t_s,model,work\n"


def alternating(models: tuple[str, ...], requests: int = 40) -> str:
    """A request every 20 s."""
    return HEADING + "".join(f"{20 * number},{models[number % len(models)]},1\n" for number in range(requests))


@pytest.fixture
def recorded() -> None:
    record(alternating(("phi-3-mini", "bge-base", "e5-small")))


def record(demand: str) -> None:
    folder = find_paths(os.environ).demand
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "demand.csv").write_text(demand)


def trace(folder: Path, demand: str) -> str:
    path = folder / "trace.csv"
    path.write_text(demand)
    return str(path)


async def test_the_engine_tells_box_sizes_and_policy_of_its_own_demand(
    citadel: Citadel, engine: ScriptedEngine, recorded: None
) -> None:
    ran = await citadel("advise", "--json")

    advice = json.loads(ran.out)
    titles = [suggestion["title"] for suggestion in advice["suggestions"] + advice["of_no_use"]]
    assert ran.status == 0
    assert (advice["requests"], advice["models"], advice["served"]) == (40, 3, 40)
    assert "RAM tier without its limit of 2 models" in titles
    assert "90% of each GPU's memory filled" in titles
    assert "one more GPU like gpu0, of which models may fill 512 MiB" in titles
    assert "replaying 40 requests" in ran.err


async def test_a_trace_is_advised_on_where_no_engine_runs(citadel: Citadel, tmp_path: Path) -> None:
    sizes = tmp_path / "sizes.csv"
    sizes.write_text("a,3GB\nb,3GB\n")
    box = ("--gpus", "1x4GB", "--ram", "8GB", "--sizes", str(sizes))

    ran = await citadel("advise", "--trace", trace(tmp_path, alternating(("a", "b"))), *box)

    assert ran.status == 0
    assert "1. one more GPU like gpu0, of which models may fill 3.7 GiB\n" in ran.out
    assert "of 1300 s saved for 1,000 requests" in ran.out
    assert "Tried, of no use or of no more than something cheaper: " in ran.out


async def test_generated_demand_needs_neither_trace_nor_engine(citadel: Citadel) -> None:
    ran = await citadel("advise", "--generated", "models=3,requests=60", "--json")

    assert ran.status == 0
    assert json.loads(ran.out)["recorded"] > 40


async def test_the_newest_requests_are_enough_where_a_limit_says_so(citadel: Citadel, tmp_path: Path) -> None:
    ran = await citadel("advise", "--trace", trace(tmp_path, alternating(("a", "b"))), "--limit", "16")

    assert ran.out.startswith("16 of 40 requests over 5m for 2 models, 16 when repeats count once, ")


async def test_too_little_demand_is_said(citadel: Citadel, tmp_path: Path) -> None:
    ran = await citadel("advise", "--trace", trace(tmp_path, alternating(("a", "b"))))

    assert "\n40 requests, when repeats count once: too few to judge by. It takes some 400" in ran.out


async def test_demand_that_can_not_be_cut_into_parts_is_refused_in_words(citadel: Citadel, tmp_path: Path) -> None:
    path = trace(tmp_path, alternating(("a", "b"), requests=5))

    ran = await citadel("advise", "--trace", path)

    assert ran.status == 1
    assert f"{path}: 5 requests for models that fit a GPU here are too few for advice" in ran.err


async def test_a_model_that_has_left_the_catalog_is_left_out_and_named(
    citadel: Citadel, engine: ScriptedEngine, recorded: None
) -> None:
    record(alternating(("phi-3-mini", "bge-base", "retired"), requests=48))

    ran = await citadel("advise")

    assert ran.status == 0
    assert "Left out: retired, no longer in the catalog." in ran.out


@pytest.mark.parametrize("arguments", [(), ("--sizes", "cycle")])
async def test_where_nothing_is_recorded_it_says_so(citadel: Citadel, arguments: tuple[str, ...]) -> None:
    ran = await citadel("advise", *arguments)

    assert ran.status == 1
    assert "no recorded demand" in ran.err


async def test_a_trace_and_generated_demand_exclude_each_other(citadel: Citadel) -> None:
    ran = await citadel("advise", "--trace", "x", "--generated", "models=3")

    assert ran.status == 2
    assert "not allowed with" in ran.err


def suggestion(title: str, saved_s: float) -> Suggestion:
    return Suggestion(
        title=title,
        cost="2.0 GiB of host RAM",
        how="ram_tier.budget: 4GiB in gpu_allocation.yaml",
        switching=Saving(40.0, saved_s, 2.0),
        wait=Saving(0.5, 0.2, 0.05),
        wait_p99_s=1.2,
        denied=0,
        on_cpu=0.0,
    )


ADVICE = Advice(
    requests=5000,
    recorded=9120,
    served=3100,
    models=4,
    seconds=7260.0,
    switching_s=40.0,
    wait_mean_s=0.5,
    wait_p99_s=3.4,
    denied=1,
    on_cpu=0.02,
    suggestions=(suggestion("RAM tier 4.0 GiB instead of 2.0 GiB", 12.3), suggestion("x pinned", 1.0)),
    of_no_use=(suggestion("y pinned", 0.1), suggestion("models leave by lru instead of expected_loss", 0.0)),
    remarks=("left out: z, no longer in the catalog",),
)
GOLDEN = """\
5000 of 9120 requests over 2h01m for 4 models, 3100 when repeats count once, replayed on the box as it is and in 4 other ways.
As it is: 40.0 s of switching for 1,000 requests; a request waits 0.50 s for its model on average, 99 of 100 up to 3.40 s; \
1 denied; 2.0 % run on the CPU.

1. RAM tier 4.0 GiB instead of 2.0 GiB
   switching  12.3 s ± 2.00 s of 40.0 s saved for 1,000 requests
   waits      0.30 s instead of 0.50 s for a model on average (0.20 s ± 0.05 s less), \
99 of 100 up to 1.20 s instead of 3.40 s; \
0 denied instead of 1; 0.0 % on the CPU instead of 2.0 %
   costs      2.0 GiB of host RAM
   how        ram_tier.budget: 4GiB in gpu_allocation.yaml

2. x pinned
   switching  1.00 s ± 2.00 s of 40.0 s saved for 1,000 requests
   waits      0.30 s instead of 0.50 s for a model on average (0.20 s ± 0.05 s less), \
99 of 100 up to 1.20 s instead of 3.40 s; \
0 denied instead of 1; 0.0 % on the CPU instead of 2.0 %
   costs      2.0 GiB of host RAM
   how        ram_tier.budget: 4GiB in gpu_allocation.yaml

Tried, of no use or of no more than something cheaper: y pinned; models leave by lru instead of expected_loss.

±: in 99 of 100 such recordings the saving differs by no more, judged by 8 parts of this one.
Left out: z, no longer in the catalog."""


def test_what_helps_comes_first_with_saving_cost_and_the_line_that_does_it() -> None:
    assert "\n".join(advice_text(ADVICE)) == GOLDEN


def test_where_nothing_helps_it_says_so() -> None:
    text = "\n".join(advice_text(replace(ADVICE, suggestions=(), of_no_use=ADVICE.suggestions)))

    assert "\n\nNothing that was tried helps beyond what chance explains.\nTried, of no use" in text
    assert "±" not in text
