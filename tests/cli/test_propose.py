"""`citadel undo` and its siblings: what is proposed is shown, and done only when somebody agrees."""

from __future__ import annotations

import msgspec

from engine.api import Answer, Done
from engine.core.proposals import Proposal
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine


def _residents(engine: ScriptedEngine) -> dict[str, str]:
    return {resident.model: resident.device for resident in engine.state.residents}


async def test_undo_shows_what_it_would_do_and_waits_for_a_yes(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "bge-base", "--on", "gpu1")
    ran = await citadel("undo")
    assert ran.status == 4
    assert "leaves bge-base (synthetic) from gpu1" in ran.out
    assert "--yes" in ran.err
    assert _residents(engine) == {"bge-base": "gpu1"}


async def test_an_agreed_undo_takes_the_last_change_back(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "phi-3-mini", "--on", "gpu0")
    await citadel("load", "bge-base", "--on", "gpu0", "--yes")
    assert (await citadel("undo", "--yes")).status == 0
    assert _residents(engine) == {"phi-3-mini": "gpu0"}
    assert (await citadel("undo", "--yes")).status == 0
    assert _residents(engine) == {}


async def test_nothing_to_take_back_is_refused_in_words(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("undo")
    assert (ran.status, ran.out, ran.err) == (3, "", "citadel: refused: there is nothing to take back\n")


async def test_a_proposal_as_json_changes_nothing(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "bge-base", "--on", "gpu1")
    ran = await citadel("undo", "--json")
    assert msgspec.json.decode(ran.out, type=Proposal).plan.effects == "evict bge-base from gpu1"
    assert _residents(engine) == {"bge-base": "gpu1"}


async def test_as_json_and_agreed_to_it_is_done_and_answered(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "bge-base", "--on", "gpu1")
    ran = await citadel("undo", "--json", "--yes")
    done = msgspec.json.decode(ran.out, type=Answer)
    assert isinstance(done, Done)
    assert done.switch is not None
    assert _residents(engine) == {}
    assert (await citadel("undo", "--json", "--yes")).status == 3
