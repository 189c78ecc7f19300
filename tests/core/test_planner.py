"""What is planned, sentence by sentence."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.commands import Command, Evict, ForceCpu, LeaveCpu, Load, Move, SetPin, Unpin
from engine.core.devices import Neighbour, Reading
from engine.core.models import Footprint
from engine.core.names import CPU
from engine.core.planning.planner import plan
from engine.core.plans import Plan, Refusal
from engine.core.policy import Policy
from engine.core.prediction import Rates
from engine.core.sizes import MIB
from engine.core.state import State
from tests.core.boxes import NOW_S, box, with_demand, with_pin, with_reading, with_resident, with_slab

POLICY = Policy()


def planned(state: State, command: Command, policy: Policy = POLICY) -> Plan:
    found = plan(state, command, policy, NOW_S)
    assert isinstance(found, Plan), found
    return found


def refused(state: State, command: Command, policy: Policy = POLICY) -> Refusal:
    found = plan(state, command, policy, NOW_S)
    assert isinstance(found, Refusal), found
    return found


def test_a_model_goes_to_the_device_with_fewest_models_when_both_have_room() -> None:
    state = with_resident(box({"a": 10, "b": 10}), "a", "gpu0")

    assert planned(state, Load("b")).effects == "load b on gpu1"


def test_balancing_pack_fills_the_fuller_device_first() -> None:
    state = with_resident(box({"a": 10, "b": 10}), "a", "gpu0")

    assert planned(state, Load("b"), Policy(balancing="pack")).effects == "load b on gpu0"


def test_an_empty_device_is_never_passed_over_for_a_full_one() -> None:
    state = with_resident(box({"a": 60, "b": 60}), "a", "gpu0")

    assert planned(state, Load("b"), Policy(balancing="pack")).effects == "load b on gpu1"


def test_the_preferred_device_wins_when_it_costs_nothing_more() -> None:
    state = with_resident(box({"a": 10, "b": 10}), "a", "gpu0")
    spec = replace(state.models["b"].spec, preferred_device="gpu0")
    state = replace(state, models={**state.models, "b": replace(state.models["b"], spec=spec)})

    assert planned(state, Load("b")).effects == "load b on gpu0"


def test_the_victim_is_the_one_whose_reload_is_expected_to_cost_least() -> None:
    state = box({"busy": 60, "idle": 60, "new": 60})
    state = with_resident(with_resident(state, "busy", "gpu0"), "idle", "gpu1")
    state = with_demand(with_demand(state, "busy", 50), "idle", 1)

    found = planned(state, Load("new"))

    assert found.effects == "evict idle from gpu1; load new on gpu1"
    assert [(a.device, a.victims) for a in found.alternatives] == [("gpu0", ("busy",))]
    assert "cost more to reload" in found.alternatives[0].why_not


def test_a_device_that_was_asked_for_and_costs_victims_is_planned_and_the_others_are_shown() -> None:
    state = with_resident(box({"here": 60, "new": 60}), "here", "gpu0")

    found = planned(state, Load("new", "gpu0"))

    assert found.effects == "evict here from gpu0; load new on gpu0"
    assert found.reasons[0].startswith("gpu0 has not enough room; losing here")
    assert [(a.device, a.victims, a.why_not) for a in found.alternatives] == [("gpu1", (), "gpu0 was asked for")]


def test_a_model_that_is_pinned_to_a_device_is_offered_no_other() -> None:
    state = with_pin(with_resident(box({"here": 60, "new": 60}), "here", "gpu0"), "new", "gpu0")

    assert planned(state, Load("new", "gpu0")).alternatives == ()


def test_a_victim_that_is_in_the_ram_tier_is_cheaper_than_one_that_must_be_read_from_disk() -> None:
    state = box({"on-disk": 60, "in-ram": 60, "new": 60})
    state = with_resident(with_resident(state, "on-disk", "gpu0"), "in-ram", "gpu1")
    state = with_slab(with_demand(with_demand(state, "on-disk", 5), "in-ram", 5), "in-ram")
    state = replace(state, disk=Rates(0.5e9))

    assert planned(state, Load("new")).effects == "evict in-ram from gpu1; load new on gpu1"


def test_lru_evicts_the_longest_unused_whatever_it_costs() -> None:
    state = box({"old": 70, "recent": 60, "new": 60})
    state = with_resident(with_resident(state, "old", "gpu0"), "recent", "gpu1")
    state = with_demand(with_demand(state, "old", 99, last_s=NOW_S - 500), "recent", 1, last_s=NOW_S - 5)

    assert planned(state, Load("new"), Policy(eviction="lru")).effects == "evict old from gpu0; load new on gpu0"
    assert planned(state, Load("new"), Policy(eviction="lfu")).effects == "evict recent from gpu1; load new on gpu1"


def test_a_leased_resident_is_never_a_victim() -> None:
    state = box({"a": 60, "new": 60}, {"gpu0": 100})
    state = with_resident(state, "a", "gpu0", leases=1)

    refusal = refused(state, Load("new"), Policy(cpu_fallback=False))

    assert [(b.model, b.why) for b in refusal.blockers] == [("a", "leased")]
    assert refusal.passes


def test_a_pinned_model_is_never_a_victim() -> None:
    state = with_pin(with_resident(box({"a": 60, "new": 60}, {"gpu0": 100}), "a", "gpu0"), "a")

    refusal = refused(state, Load("new"), Policy(cpu_fallback=False))

    assert [(b.model, b.why) for b in refusal.blockers] == [("a", "pinned")]
    assert not refusal.passes
    assert "unpin a" in refusal.advice
    assert refusal.needed_bytes == 60 * MIB
    assert [(r.device, r.free_bytes) for r in refusal.rooms] == [("gpu0", 20 * MIB)]


def test_a_refusal_says_who_else_holds_the_card_and_advises_what_can_help() -> None:
    held = Reading("ok", "", 70 * MIB, 70 * MIB, neighbours=(Neighbour(815, "game", 60 * MIB), Neighbour(9, "", None)))
    refusal = refused(with_reading(box({"a": 60}, {"gpu0": 100}), "gpu0", held), Load("a"), Policy(cpu_fallback=False))

    assert "others hold 70 MiB of gpu0 (game 815: 60 MiB, process 9) and leave 30 MiB for models" in refusal.reason
    assert refusal.advice[0] == "end what else uses gpu0, or wait until it has given memory back"
    assert not any("GPU_MEMORY_FRACTION" in advice for advice in refusal.advice)


def test_a_refusal_never_says_that_as_much_is_free_as_is_needed() -> None:
    held = Reading("ok", "", 40 * MIB + 1, 40 * MIB + 1)
    refusal = refused(with_reading(box({"a": 60}, {"gpu0": 100}), "gpu0", held), Load("a"), Policy(cpu_fallback=False))

    assert "needs 60 MiB" in refusal.reason
    assert "leave 59 MiB for models" in refusal.reason


def test_a_model_that_came_a_moment_ago_is_not_a_victim() -> None:
    state = with_resident(box({"a": 60, "new": 60}, {"gpu0": 100}), "a", "gpu0", since_s=NOW_S - 1)

    assert refused(state, Load("new")).blockers[0].why == "too young"
    assert planned(state, Load("new"), Policy(min_residency_s=0.5)).effects == "evict a from gpu0; load new on gpu0"


def test_what_fits_no_gpu_goes_to_the_cpu_and_says_why() -> None:
    state = with_pin(with_resident(box({"a": 60, "new": 60}, {"gpu0": 100}), "a", "gpu0"), "a")

    found = planned(state, Load("new"))

    assert found.effects == "load new on cpu"
    assert found.reasons[0].startswith("CPU fallback: new needs 60 MiB")


def test_without_cpu_fallback_what_fits_no_gpu_is_refused_with_the_largest_budget() -> None:
    refusal = refused(box({"huge": 300}), Load("huge"), Policy(cpu_fallback=False))

    assert "needs 300 MiB" in refusal.reason
    assert "largest budget is 80 MiB" in refusal.reason
    assert not refusal.passes


def test_a_model_that_would_fit_in_int8_is_refused_with_that_advice() -> None:
    state = box({"huge": 300})
    known = replace(state.models["huge"], smaller={"int8": Footprint(75 * MIB, 0)})
    refusal = refused(replace(state, models={"huge": known}), Load("huge"), Policy(cpu_fallback=False))

    assert refusal.advice[0].endswith(': with "dtype": "int8" it would need 75 MiB and fit')


def test_without_gpus_everything_runs_on_the_cpu_even_without_fallback() -> None:
    found = planned(box({"a": 60}, {}), Load("a"), Policy(cpu_fallback=False))
    assert found.effects == "load a on cpu"
    assert found.reasons[0].startswith("there is no GPU here; cpu has room")


@pytest.mark.parametrize("health", ["starting", "stale", "lost", "unsupported", "failed"])
def test_nothing_is_placed_on_a_device_that_is_not_ok(health: str) -> None:
    state = with_reading(box({"a": 10}), "gpu0", Reading(health, "the card does not answer"))  # type: ignore[arg-type]

    assert planned(state, Load("a")).effects == "load a on gpu1"
    assert "the card does not answer" in refused(state, Load("a", "gpu0")).reason


def test_memory_that_others_use_is_not_in_the_budget() -> None:
    state = with_reading(box({"a": 60}), "gpu0", Reading("ok", "", 50 * MIB, 50 * MIB, at_s=NOW_S))

    assert planned(state, Load("a")).effects == "load a on gpu1"
    assert refused(state, Load("a", "gpu0")).rooms[0].budget_bytes == 50 * MIB


def test_a_pin_to_a_device_leads_the_load_there() -> None:
    assert planned(with_pin(box({"a": 10}), "a", "gpu1"), Load("a")).effects == "load a on gpu1"
    assert "pinned to gpu1" in refused(with_pin(box({"a": 10}), "a", "gpu1"), Load("a", "gpu0")).reason


def test_loading_what_is_ready_does_nothing() -> None:
    state = with_resident(box({"a": 10}), "a", "gpu0")

    assert planned(state, Load("a")).steps == ()
    assert planned(state, Load("a", "gpu0")).steps == ()


def test_loading_on_another_device_is_a_move() -> None:
    state = with_resident(box({"a": 10}), "a", "gpu0")

    found = planned(state, Load("a", "gpu1"))

    assert found.effects == "load a on gpu1; evict a from gpu0"
    assert not found.victims


def test_a_move_makes_room_at_its_target_first() -> None:
    state = box({"a": 60, "b": 60})
    state = with_resident(with_resident(state, "a", "gpu0"), "b", "gpu1")

    found = planned(state, Move("a", "gpu1"))

    assert found.effects == "evict b from gpu1; load a on gpu1; evict a from gpu0"
    assert found.has_side_effects


def test_a_move_of_what_is_nowhere_or_about_to_leave_says_which() -> None:
    state = box({"a": 10})
    for before, reason in (
        (state, "a is not on any device"),
        (with_resident(state, "a", "gpu0", stage="draining"), "a is leaving gpu0"),
    ):
        found = plan(before, Move("a", "gpu1"), Policy(), NOW_S)
        assert isinstance(found, Refusal)
        assert (found.reason, found.advice) == (reason, ("load it on gpu1 instead",))


def test_a_pin_to_a_device_follows_a_move() -> None:
    state = with_pin(with_resident(box({"a": 10}), "a", "gpu0"), "a", "gpu0")

    assert planned(state, Move("a", "gpu1")).effects.endswith("pin a on gpu1")


def test_evicting_a_pinned_model_takes_its_pin_and_asks_first() -> None:
    state = with_pin(with_resident(box({"a": 10}), "a", "gpu0"), "a")

    found = planned(state, Evict("a"))

    assert found.effects == "evict a from gpu0; unpin a"
    assert found.has_side_effects


def test_evicting_a_leased_model_waits_and_says_so() -> None:
    found = planned(with_resident(box({"a": 10}), "a", "gpu0", leases=2), Evict("a"))

    assert found.effects == "evict a from gpu0 after its leases"
    assert found.has_side_effects


def test_evicting_an_idle_model_asks_nothing() -> None:
    assert not planned(with_resident(box({"a": 10}), "a", "gpu0"), Evict("a")).has_side_effects


def test_force_cpu_moves_and_pins_and_its_undoing_goes_back_to_a_gpu() -> None:
    state = with_resident(box({"a": 10}), "a", "gpu0")
    assert planned(state, ForceCpu("a")).effects == "load a on cpu; evict a from gpu0; pin a on cpu"

    state = with_pin(with_resident(box({"a": 10}), "a", CPU), "a", CPU)
    assert planned(state, LeaveCpu("a")).effects == "load a on gpu0; evict a from cpu; unpin a"


def test_a_pin_to_another_device_moves_the_model_there() -> None:
    state = with_resident(box({"a": 10}), "a", "gpu0")

    assert planned(state, SetPin("a", "gpu1")).effects == "load a on gpu1; evict a from gpu0; pin a on gpu1"
    assert planned(state, SetPin("a")).effects == "pin a"
    assert planned(with_pin(state, "a"), SetPin("a")).steps == ()
    assert planned(with_pin(state, "a"), Unpin("a")).effects == "unpin a"


def test_unknown_models_and_devices_are_refused_by_name() -> None:
    assert "nobody" in refused(box({"a": 10}), Load("nobody")).reason
    assert "gpu7" in refused(box({"a": 10}), Move("a", "gpu7")).reason


def test_a_model_whose_weights_are_missing_is_refused_in_the_words_of_its_trouble() -> None:
    state = box({"a": 10})
    state = replace(state, models={"a": replace(state.models["a"], trouble="a has no source")})

    assert refused(state, Load("a")).reason == "a has no source"


def test_room_that_another_load_has_been_promised_is_not_offered_twice() -> None:
    state = with_resident(box({"a": 60, "b": 60}), "a", "gpu0", stage="pending")

    assert planned(state, Load("b")).effects == "load b on gpu1"


def test_a_prediction_counts_the_disk_only_when_the_slab_is_not_in_ram() -> None:
    state = replace(box({"a": 50}), disk=Rates(0.5e9))
    cold = planned(state, Load("a")).predicted
    warm = planned(with_slab(state, "a"), Load("a")).predicted

    assert warm.p50_s < cold.p50_s
    assert warm.p50_s <= warm.p90_s
