"""What the scheduler's README says is so: its names exist, its stages are the ledger's, and its switch happens like that."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, get_args

import pytest
from msgspec.structs import replace

from engine.core import ledger
from engine.core.policy import Policy
from engine.core.records import PhaseName
from engine.core.state import Stage, State
from engine.scheduler.board import Instant, Patience
from engine.scheduler.effects import BindModel, Effect, ReadSlab, ReleaseModel, WriteBackSlab
from engine.scheduler.messages import Message
from engine.scheduler.scheduler import Scheduler
from tests.core.boxes import NOW_S, box, with_demand, with_resident
from tests.scheduler.scripted_world import World

ROOT: Final = Path(__file__).parents[2]
ROOM: Final = ROOT / "engine" / "scheduler"
README: Final = (ROOM / "README.md").read_text(encoding="utf-8")
STAGES: Final = get_args(Stage)

TRANSITIONS: Final[dict[str, Callable[[State], State]]] = {
    "pend": lambda s: ledger.pend(s, "a", "gpu0", NOW_S),
    "withdraw": lambda s: ledger.withdraw(s, "a", "gpu0"),
    "reserve": lambda s: ledger.reserve(s, "a", "gpu0", NOW_S),
    "arrive": lambda s: ledger.arrive(s, "a", "gpu0", NOW_S),
    "start_draining": lambda s: ledger.start_draining(s, "a", "gpu0", NOW_S),
    "rescue": lambda s: ledger.rescue(s, "a", "gpu0", NOW_S),
    "leave": lambda s: ledger.leave(s, "a", "gpu0", NOW_S),
    "release_bytes": lambda s: ledger.release_bytes(s, "a", "gpu0", 0),
    "lose_worker": lambda s: ledger.lose_worker(s, "gpu0"),
}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under `heading`, without its own two lines."""
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def exists(name: str) -> bool:
    """Whether something of the project is called `name`: a path, a stage, a phase, or what a module of the room holds."""
    if name.endswith((".py", "/")):
        return (ROOM / name).exists() or (ROOT / name).exists()
    if name in (*STAGES, *get_args(PhaseName), *TRANSITIONS, "a", "b", "make check"):
        return True
    first, _, attribute = name.split("(")[0].partition(".")
    modules = [importlib.import_module(f"engine.scheduler.{path.stem}") for path in ROOM.glob("*.py")]
    return any(hasattr(getattr(m, first), attribute) if attribute else True for m in modules if hasattr(m, first))


def test_every_name_that_it_quotes_exists() -> None:
    quoted = set(re.findall(r"`([^`\n]+)`", README))
    assert {name for name in quoted if not exists(name)} == set()


def test_every_module_of_the_room_has_its_place_in_it() -> None:
    modules = {path.name for path in ROOM.glob("*.py") if not path.name.startswith("__")}
    assert {name for name in modules if f"`{name}`" not in README} == set()


@pytest.mark.parametrize("row", rows("Stages"), ids=lambda row: " ".join(row[:3]))
def test_each_row_of_the_stages_is_what_the_ledger_does(row: list[str]) -> None:
    before, after, transition = (cell.strip("`–") for cell in row[:3])
    state = box({"a": 10})
    if before:
        state = with_resident(state, "a", "gpu0")
        state = replace(state, residents=(replace(state.residents[0], stage=before),))
    resident = TRANSITIONS[transition](state).find("a", "gpu0")

    assert (resident.stage if resident else "") == after


class TracedScheduler(Scheduler):
    """Notes each message as a row of the README's table."""

    def __init__(self, state: State) -> None:
        super().__init__(state, Policy(), Patience())
        self.rows: list[list[str]] = []

    def handle(self, message: Message, now: Instant) -> list[Effect]:
        effects = super().handle(message, now)
        jobs = self.jobs(now.mono_s)
        self.rows.append([
            named(message),
            ", ".join(named(effect) for effect in effects) or "–",
            ", ".join(f"{r.model} {r.stage}" for r in self.state.on("gpu0")),
            ", ".join(f"{slab.model} {slab.stage}" for slab in self.state.ram.slabs) or "–",
            f"`{jobs[0].phase}`" if jobs else "–",
        ])  # fmt: skip
        return effects


def named(of: Message | Effect) -> str:
    """Its name, and its model where it has one."""
    model = getattr(of, "model", "")
    return f"`{type(of).__name__}` {model}".strip()


def test_the_switch_happens_message_by_message_as_it_is_told() -> None:
    world = World(with_demand(with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0"), "a", 5.0))
    world.scheduler = scheduler = TracedScheduler(world.state)
    lease = world.ask("a")
    scheduler.rows.clear()
    world.ask("b")
    world.give_back(lease)
    world.open_slab("b")
    kinds: tuple[type[Effect], ...] = (WriteBackSlab, ReleaseModel, ReadSlab, BindModel)
    for kind in kinds:
        world.perform(world.expect(kind))

    assert scheduler.rows == rows("One switch, message by message")
