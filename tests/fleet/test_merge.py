"""What several boxes say, as one snapshot."""

from __future__ import annotations

from msgspec.structs import replace

from engine.api import Snapshot
from engine.core.insight.request_figures import RequestFigures
from engine.core.models import Pin
from engine.core.names import DeviceId, ModelName
from engine.core.state import Change, Resident, Slab, State
from fleet.merge import Merge
from tests.scripted_plans import START_S, scripted_budgets, scripted_state

SMALL, LARGE = "all-MiniLM-L6-v2", "phi-3-mini"
BOXES = ("box1", "box2")


def _said(state: State | None = None, mono_s: float = 0.0, **more: object) -> Snapshot:
    state = state or scripted_state()
    return replace(Snapshot(1, START_S, state, budgets=scripted_budgets(state), mono_s=mono_s), **more)


def _with(state: State, model: ModelName, device: DeviceId, since_s: float = START_S) -> State:
    one = Resident(model, device, "ready", state.models[model].footprint, since_s)
    return replace(state, residents=(*state.residents, one))


def _merged(*said: Snapshot) -> Snapshot:
    merge = Merge(BOXES)
    for box, one in zip(BOXES, said, strict=True):
        merge.take(box, one, 0.0)
    return merge.snapshot(7, START_S, 100.0, {})


def test_devices_budgets_and_residents_carry_their_box_and_keep_the_operators_order() -> None:
    one, other = _with(scripted_state(), SMALL, "gpu0"), _with(scripted_state(), LARGE, "gpu1")
    merge = Merge(BOXES)
    merge.take("box2", _said(other), 0.0)
    merge.take("box1", _said(one), 0.0)
    merged = merge.snapshot(7, START_S, 100.0, {})
    names = ["box1/gpu0", "box1/gpu1", "box1/cpu", "box2/gpu0", "box2/gpu1", "box2/cpu"]
    assert list(merged.state.devices) == list(merged.budgets) == names
    assert [known.spec.id for known in merged.state.devices.values()] == names
    assert [(r.model, r.device) for r in merged.state.residents] == [(SMALL, "box1/gpu0"), (LARGE, "box2/gpu1")]
    assert merged.state.places(LARGE) == ("box2/gpu1",)


def test_ages_are_told_on_the_fleets_steady_clock() -> None:
    state = scripted_state()
    devices = {name: replace(d, reading=replace(d.reading, mono_s=40.0)) for name, d in state.devices.items()}
    merge = Merge(BOXES)
    merge.take("box1", _said(replace(state, devices=devices), mono_s=50.0), ahead_s=1000.0)
    merged = merge.snapshot(1, START_S, 1050.0, {})
    read_s = merged.state.devices["box1/gpu0"].reading.mono_s
    assert read_s is not None
    assert merged.mono_s - read_s == 10.0


def test_only_what_a_box_says_otherwise_is_put_together_anew() -> None:
    merge = Merge(BOXES)
    merge.take("box1", _said(), 0.0)
    merge.take("box2", _said(), 0.0)
    before = merge.snapshot(1, START_S, 100.0, {}).state
    merge.take("box2", _said(_with(scripted_state(), SMALL, "gpu0")), 0.0)
    after = merge.snapshot(2, START_S, 100.0, {}).state
    assert all(after.devices[name] is before.devices[name] for name in before.devices if name.startswith("box1/"))
    assert [name for name in before.models if after.models[name] is not before.models[name]] == [SMALL]


def test_a_model_is_told_once_and_where_a_box_has_it_otherwise_the_remark_says_so() -> None:
    state = scripted_state()
    spec = replace(state.models[SMALL].spec, dtype="int8")
    other = replace(state, models={**state.models, SMALL: replace(state.models[SMALL], spec=spec)})
    merged = _merged(_said(state), _said(other))
    assert list(merged.state.models) == list(state.models)
    assert merged.state.models[SMALL].spec.dtype == "float32"
    assert merged.state.models[SMALL].remark == "box2 has it otherwise: dtype int8, not float32"


def test_a_model_that_one_box_alone_has_comes_behind_the_others() -> None:
    state = scripted_state()
    fewer = replace(state, models={name: known for name, known in state.models.items() if name != SMALL})
    assert list(_merged(_said(fewer), _said(state)).state.models)[-1] == SMALL


def test_a_model_that_can_be_loaded_somewhere_is_in_no_trouble() -> None:
    state = scripted_state()
    broken = replace(state, models={**state.models, SMALL: replace(state.models[SMALL], trouble="no such file")})
    assert _merged(_said(broken), _said(state)).state.models[SMALL].trouble == ""
    assert _merged(_said(broken), _said(broken)).state.models[SMALL].trouble == "no such file"


def test_a_pin_beside_copies_elsewhere_names_the_copy_that_it_holds() -> None:
    state = _with(scripted_state(), SMALL, "gpu0", START_S + 5)
    pinned = replace(state, models={**state.models, SMALL: replace(state.models[SMALL], pin=Pin())})
    merged = _merged(_said(_with(scripted_state(), SMALL, "gpu1")), _said(pinned)).state
    assert merged.models[SMALL].pin == Pin("box2/gpu0")
    assert [merged.is_pinned(resident) for resident in merged.of(SMALL)] == [False, True]


def test_pins_on_several_boxes_are_all_told() -> None:
    state = scripted_state()
    pinned = replace(state, models={**state.models, SMALL: replace(state.models[SMALL], pin=Pin())})
    merged = _merged(_said(pinned), _said(pinned)).state.models[SMALL]
    assert (merged.pin, merged.remark) == (Pin(), "it is pinned on box2, too")


def test_tiers_add_up_and_each_slab_says_whose_it_is() -> None:
    state = scripted_state()
    kept = replace(state, ram=replace(state.ram, slabs=(Slab(SMALL, 100, "kept", START_S),)))
    on_cpu = _with(kept, SMALL, "cpu")
    merged = _merged(_said(kept), _said(on_cpu)).state
    assert merged.ram.budget_bytes == 2 * state.ram.budget_bytes
    assert [slab.box for slab in merged.ram.slabs] == ["box1", "box2"]
    assert [slab.box for slab in merged.tier_slabs] == ["box1"]  # that of box2 belongs to its CPU


def test_counts_of_requests_add_up_and_times_are_those_of_the_box_that_answered_most() -> None:
    few, many = (
        RequestFigures(waiting=1, per_s=2.0, p50_s=9.0, answered=1),
        RequestFigures(per_s=3.0, p50_s=0.1, answered=50),
    )
    merged = _merged(_said(requests={SMALL: few}), _said(requests={SMALL: many})).requests[SMALL]
    assert (merged.waiting, merged.per_s, merged.p50_s) == (1, 5.0, 0.1)


def test_changes_are_in_the_order_in_which_they_were_made() -> None:
    one, other = Change("a", START_S + 2, "load x on gpu0", ()), Change("b", START_S + 1, "evict y", ())
    states = [replace(scripted_state(), changes=(change,)) for change in (one, other)]
    merged = _merged(*map(_said, states)).state.changes
    assert [(change.id, change.title) for change in merged] == [("b", "evict y"), ("a", "load x on box1/gpu0")]


def test_a_box_that_leaves_takes_what_it_said_along() -> None:
    merge = Merge(BOXES)
    for box in BOXES:
        merge.take(box, _said(), 0.0)
    merge.reorder(("box2",))
    merged = merge.snapshot(1, START_S, 0.0, {})
    assert list(merged.state.devices) == ["box2/gpu0", "box2/gpu1", "box2/cpu"]
    assert list(merged.state.models) == list(scripted_state().models)


def test_no_box_at_all_is_a_snapshot_too() -> None:
    assert Merge().snapshot(0, START_S, 0.0, {}).state.devices == {}
