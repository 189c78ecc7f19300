"""Each card keeps its number, in whatever order the driver lists the others and whichever of them are away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.api import Hello
from engine.core.devices import DeviceSpec
from engine.core.serialization import to_sealed_json
from engine.core.sizes import GIB
from engine.devices.cards import GpuFacts
from engine.devices.inventory import (
    NO_CARDS,
    Inventory,
    forgotten,
    met,
    read_inventory,
    take_inventory,
    write_inventory,
)
from engine.devices.visible import visible
from engine.paths import find_paths, make_folders
from engine.recording.host_facts import this_machine
from engine.recording.memory import MEMORY_FILE, DeviceSample, EngineFacts, Sample


def card(letter: str, bus: int, index: int = 0, total_bytes: int | None = 12 * GIB) -> GpuFacts:
    facts = GpuFacts(index, f"GPU-{letter}", f"card {letter}", total_bytes, 0, (8, 0), None, None, None, None, None)
    return replace(facts, bus_id=f"00000000:{bus:02X}:00.0")


def part(of: GpuFacts, uuid: str) -> GpuFacts:
    return replace(of, uuid=uuid, is_mig=True, is_partitioned=False, parent_uuid=of.uuid)


A, B, C, D = (card(letter, bus) for bus, letter in enumerate("abcd", start=9))


def names(inventory: Inventory) -> dict[str, str]:
    """Who is called what, in the order of the inventory."""
    return {c.name: c.facts.uuid.removeprefix("GPU-") for c in inventory.cards if c.name}


def lost(inventory: Inventory) -> set[str]:
    return {c.name for c in inventory.lost if c.name}


# ── names ────────────────────────────────────────────────────────────────────────────────────────


@given(st.permutations([A, B, C, D]))
def test_the_first_are_named_along_the_bus_however_the_driver_lists_them(found: list[GpuFacts]) -> None:
    listed = [replace(facts, index=index) for index, facts in enumerate(found)]
    assert names(met(NO_CARDS, listed, 1.0)) == {"gpu0": "a", "gpu1": "b", "gpu2": "c", "gpu3": "d"}


@given(st.lists(st.permutations([A, B, C, D]).flatmap(lambda all_: st.integers(0, 4).map(lambda n: all_[:n]))))
def test_a_name_is_one_card_for_good_whoever_is_away_and_comes_back(starts: list[list[GpuFacts]]) -> None:
    known, named = NO_CARDS, dict[str, str]()
    for at_s, found in enumerate(starts, start=1):
        before, known = known, met(known, found, float(at_s))
        now = names(known)
        assert named.items() <= now.items()
        assert sorted(now) == [f"gpu{n}" for n in range(len(now))]
        assert {c.facts.uuid for c in known.cards if c.is_here} == {facts.uuid for facts in found}
        assert lost(known) == set(names(before)) - {
            name for name in now if f"GPU-{now[name]}" in {f.uuid for f in found}
        }
        assert all(c.seen_s == at_s for c in known.cards if c.is_here)
        named = now


def test_a_card_that_comes_later_takes_the_smallest_free_name_wherever_it_sits() -> None:
    known = met(met(NO_CARDS, (B, C), 1.0), (A, B, C), 2.0)
    assert names(known) == {"gpu2": "a", "gpu0": "b", "gpu1": "c"}


def test_a_card_that_was_moved_to_another_slot_is_the_same_card() -> None:
    moved = replace(A, bus_id="00000000:F0:00.0", index=1)
    known = met(met(NO_CARDS, (A, B), 1.0), (B, moved), 2.0)
    assert names(known) == {"gpu1": "b", "gpu0": "a"}
    assert lost(known) == set()


def test_a_replacement_in_the_same_slot_is_another_card_until_the_first_is_forgotten() -> None:
    replaced = card("x", 10)
    first = met(NO_CARDS, (A, B, C), 1.0)
    known = met(first, (A, replaced, C), 2.0)
    assert names(known) == {"gpu0": "a", "gpu3": "x", "gpu2": "c", "gpu1": "b"}
    assert lost(known) == {"gpu1"}
    assert names(met(forgotten(first, {"GPU-b"}), (A, replaced, C), 2.0)) == {"gpu0": "a", "gpu1": "x", "gpu2": "c"}


def test_who_is_forgotten_and_is_there_all_the_same_gets_a_name_anew() -> None:
    known = met(met(NO_CARDS, (A, B), 1.0), (A, card("x", 10)), 2.0)
    anew = met(forgotten(known, {"GPU-b", "GPU-x"}), (A, card("x", 10)), 3.0)
    assert names(anew) == {"gpu0": "a", "gpu1": "x"}


def test_a_card_that_ails_has_the_memory_that_it_had() -> None:
    known = met(met(NO_CARDS, (A,), 1.0), (replace(A, total_bytes=None, reserved_bytes=None, capability=None),), 2.0)
    facts = known.facts[0]
    assert (facts.total_bytes, facts.reserved_bytes, facts.capability) == (12 * GIB, 0, (8, 0))


def test_total_memory_follows_what_the_driver_says_at_each_start() -> None:
    known = met(met(NO_CARDS, (A,), 1.0), (replace(A, total_bytes=11 * GIB),), 2.0)
    assert known.facts[0].total_bytes == 11 * GIB


def test_mig_devices_have_names_of_their_own_and_their_card_keeps_its_own() -> None:
    split = replace(A, is_partitioned=True)
    whole = met(NO_CARDS, (A, B), 1.0)
    parted = met(whole, (split, part(split, "MIG-1"), part(split, "MIG-2"), B), 2.0)
    assert names(parted) == {"gpu0": "a", "gpu2": "MIG-1", "gpu3": "MIG-2", "gpu1": "b"}
    again = met(parted, (A, B), 3.0)
    assert (names(again), lost(again)) == (names(parted), {"gpu2", "gpu3"})


def test_a_card_that_was_only_ever_in_mig_mode_has_no_name() -> None:
    split = replace(A, is_partitioned=True)
    assert names(met(NO_CARDS, (split, part(split, "MIG-1")), 1.0)) == {"gpu0": "MIG-1"}


# ── numbers of CUDA_VISIBLE_DEVICES ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ((A, B, C), "all are there"),
        ((A, C), "the one between them is lost"),
        ((C,), "two before it are lost"),
        ((), "the driver lists nobody"),
        ((A, card("x", 10), C), "the one between them was replaced"),
    ],
)
def test_the_number_two_is_the_same_card_whoever_is_away(found: Sequence[GpuFacts], why: str) -> None:
    known = met(met(NO_CARDS, (A, B, C), 1.0), found, 2.0)
    assert [facts.uuid for facts in visible(known.facts, "2")] == ["GPU-c"], why


# ── kept over restarts ───────────────────────────────────────────────────────────────────────────


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    known = met(met(NO_CARDS, (A, B), 1.0), (replace(B, total_bytes=None),), 2.0)
    write_inventory(tmp_path / "cards.json", known)
    assert read_inventory(tmp_path / "cards.json") == (known, "")


def test_where_nothing_was_kept_nothing_is_known_and_that_is_no_trouble(tmp_path: Path) -> None:
    assert read_inventory(tmp_path / "cards.json") == (NO_CARDS, "")


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("{", "truncated"),
        ('{"version": 7, "cards": []}', "it is of version 7, not 1"),
        ('{"version": 1, "cards": [{"number": 0}]}', "missing required field"),
    ],
)
def test_a_file_that_can_not_be_understood_says_why(tmp_path: Path, text: str, trouble: str) -> None:
    (tmp_path / "cards.json").write_text(text)
    inventory, why = read_inventory(tmp_path / "cards.json")
    assert inventory == NO_CARDS
    assert trouble in why


def test_two_cards_of_one_name_are_not_believed(tmp_path: Path) -> None:
    known = met(NO_CARDS, (A, B), 1.0)
    twice = Inventory(tuple(replace(card, number=0) for card in known.cards))
    write_inventory(tmp_path / "cards.json", twice)
    assert read_inventory(tmp_path / "cards.json") == (NO_CARDS, "gpu0 is in it twice")


def test_since_when_a_card_is_lost_is_when_it_was_read_last_not_when_an_engine_began(tmp_path: Path) -> None:
    paths = find_paths({"CITADEL_HOME": str(tmp_path)})
    make_folders(paths)
    write_inventory(paths.cards, met(NO_CARDS, (A, B), 1000.0))
    spec = DeviceSpec("gpu1", "card b", "gpu", "cuda:1", 12 * GIB, 0.8, "GPU-b")
    hello = Hello(5, "0", "host", 1, 1000.0, "config")
    lines = (
        EngineFacts(1000.0, hello, this_machine(()), (spec,), (), 30.0),
        Sample(5000.0, (DeviceSample("gpu1", "ok", GIB, 0, 0, 1.0),)),
        Sample(5030.0, (DeviceSample("gpu1", "lost", GIB, age_s=31.0),)),
    )
    (paths.memory / MEMORY_FILE).write_bytes(b"".join(to_sealed_json(line) + b"\n" for line in lines))
    inventory, _ = take_inventory(paths, (A,), 9000.0)
    assert {card.name: card.seen_s for card in inventory.cards} == {"gpu0": 9000.0, "gpu1": 4999.0}
