"""What a view is told of a box, taken from the box's state."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.forecast.run_costs import ran
from engine.core.names import CPU
from engine.core.sizes import MIB
from fleet.core.digest import digest_of, drain_order, member_of
from fleet.core.view import Digest
from tests.core.boxes import box, with_demand, with_resident, with_slab
from tests.fleet.core.views import copy, view_of

SIZES = {"m1": 50, "m2": 50, "m3": 5, "huge": 90}


def test_copies_that_stay_and_whole_slabs_are_told() -> None:
    state = with_resident(with_resident(box(SIZES), "m1", "gpu0"), "m2", "gpu1", stage="leaving")
    found = digest_of(with_slab(with_resident(state, "m3", "gpu1", stage="loading"), "m2"))

    assert [(c.model, c.device, c.loading_s > 0) for c in found.copies] == [("m1", "gpu0", False), ("m3", "gpu1", True)]
    assert found.slabs == {"m2"}


def test_a_copy_waits_for_what_runs_there_and_takes_what_its_runs_took() -> None:
    state = with_resident(box(SIZES), "m1", "gpu0", leases=3)
    state = replace(state, residents=(replace(state.residents[0], work=6),))
    for _ in range(9):
        state = ran(state, "m1", "gpu0", 2, 0.4)
    told = digest_of(state).copies[0]

    assert told.service_s == pytest.approx(0.4)
    assert told.wait_s == pytest.approx(1.2)
    assert told.load_s == pytest.approx(50 * MIB / 1e9, rel=0.1)


def test_half_a_load_is_waited_for_half_as_long() -> None:
    state = with_resident(box(SIZES), "m1", "gpu0", stage="loading")
    half = replace(state, residents=(replace(state.residents[0], progress=0.5),))

    assert digest_of(half).copies[0].loading_s == pytest.approx(digest_of(state).copies[0].loading_s / 2)


def test_a_member_has_the_models_that_fit_its_largest_gpu_and_are_in_no_trouble() -> None:
    state = box(SIZES)
    troubled = replace(state, models={**state.models, "m2": replace(state.models["m2"], trouble="no such file")})

    assert member_of(troubled, is_ready=True, is_drained=False).models == {"m1", "m3"}
    assert member_of(state, is_ready=True, is_drained=False).gpu_bytes == 200 * MIB
    without_gpus = replace(state, devices={CPU: state.devices[CPU]})
    assert member_of(without_gpus, is_ready=True, is_drained=False).models == set(SIZES)


def test_a_drained_box_has_what_is_missed_most_brought_elsewhere_first() -> None:
    state = box(SIZES)
    for model, weight in (("m1", 1.0), ("m2", 9.0), ("m3", 4.0)):
        state = with_demand(with_resident(state, model, "gpu0"), model, weight)
    view = view_of("a", "b")
    view.heard("a", digest_of(state), 0.0)
    assert [*drain_order(view, "a", state)] == ["m2", "m1", "m3"], "m3 takes a tenth of the seconds to bring back"

    view.heard("b", Digest((copy("m1"),)), 0.0)
    lost_s = drain_order(view, "a", state)
    assert [*lost_s] == ["m2", "m3"]
    assert lost_s["m2"] > lost_s["m3"] > 0
