"""The reference box by calculation, and the advice that follows for a catalog of one's own."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.forecast.footprints import Architecture, estimate
from engine.core.insight.reference_box import (
    BUDGET_BYTES,
    REFERENCE_DTYPES,
    REFERENCE_MODELS,
    ReferenceRow,
    reference_table,
    slow_switches,
)
from engine.core.models import Dtype, Footprint, Limits
from engine.core.prediction import Rates
from engine.core.sizes import MIB
from engine.core.state import State
from engine.weights.recipes import RECIPES
from tests.core.boxes import box


def row(model: str, dtype: str) -> ReferenceRow:
    return next(row for row in reference_table() if (row.model, row.dtype) == (model, dtype))


def test_every_model_is_there_in_every_dtype() -> None:
    assert len(reference_table()) == 4 * len(REFERENCE_DTYPES)


@pytest.mark.parametrize("name", ["e5-small", "bge-base"])
def test_the_parameters_are_those_of_the_real_shapes(name: str) -> None:
    model = next(model for model in REFERENCE_MODELS if model.name == name)
    assert model.linear_weights + model.other_parameters == RECIPES[name].parameters


def test_phi_3_mini_has_the_parameters_that_it_was_published_with() -> None:
    assert row("phi-3-mini", "float16").weights_bytes == 2 * 3_821_079_552


def test_phi_3_mini_in_float16_neither_fits_nor_switches_in_time() -> None:
    phi = row("phi-3-mini", "float16")
    assert phi.from_ram_s == pytest.approx(2.39, abs=0.01)
    assert not phi.fits
    assert phi.needs == "smaller dtype"


def test_phi_3_mini_in_int8_fits_with_its_workspace_and_switches_in_time_from_the_ram_tier() -> None:
    phi = row("phi-3-mini", "int8")
    shape = Architecture(hidden=3072, intermediate=8192, layers=32, kv_heads=32, head_dim=96, vocab=32064)
    footprint = estimate(phi.weights_bytes, shape, Limits(max_batch=4, max_sequence=256), "generation", "int8")
    assert phi.weights_bytes == 4_020_312_064
    assert footprint.total_bytes < BUDGET_BYTES
    assert phi.from_ram_s == pytest.approx(1.26, abs=0.01)
    assert phi.needs == "RAM tier"


@pytest.mark.parametrize("name", ["e5-small", "bge-base"])
def test_the_int8_matrices_are_those_of_the_real_shapes(name: str) -> None:
    model = next(model for model in REFERENCE_MODELS if model.name == name)
    matrices = RECIPES[name].matrices
    assert model.linear_weights == sum(rows * columns for rows, columns in matrices)
    assert model.linear_rows == sum(rows for rows, _ in matrices)


@pytest.mark.parametrize(("dtype", "size_bytes"), [("nf4", 2_432_833_536), ("nf4-double", 2_263_848_960)])
def test_phi_3_mini_in_nf4_leaves_half_of_the_card_to_others_and_needs_the_ram_tier(
    dtype: Dtype, size_bytes: int
) -> None:
    phi = row("phi-3-mini", dtype)
    shape = Architecture(hidden=3072, intermediate=8192, layers=32, kv_heads=32, head_dim=96, vocab=32064)
    footprint = estimate(phi.weights_bytes, shape, Limits(max_batch=4, max_sequence=256), "generation", dtype)
    others = sum(row(name, "float16").weights_bytes for name in ("all-MiniLM-L6-v2", "e5-small", "bge-base"))
    assert phi.weights_bytes == size_bytes
    assert footprint.total_bytes + 4 * others < BUDGET_BYTES
    assert phi.from_ram_s < 0.8
    assert phi.from_disk_s > 4.5
    assert phi.needs == "RAM tier"


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "e5-small", "bge-base"])
def test_the_embedding_models_switch_in_time_even_from_disk(name: str) -> None:
    assert all(row(name, dtype).needs == "nothing" for dtype in REFERENCE_DTYPES)


SLOW_DISK = Rates(0.5e9, overhead_s=0.0)


def with_ram_tier(state: State, budget_mib: int) -> State:
    return replace(state, ram=replace(state.ram, budget_bytes=budget_mib * MIB))


def test_a_model_that_is_slow_from_disk_only_is_advised_to_use_the_ram_tier() -> None:
    (advice,) = slow_switches(replace(box({"slow": 1200, "quick": 100}, {"gpu0": 3000}), disk=SLOW_DISK))
    assert advice.startswith("slow takes about 2.5 s to a GPU from disk")
    assert advice.endswith("has room for its 1.2 GiB: prepare and load it before it is needed.")


def test_a_ram_tier_that_is_too_small_for_it_is_pointed_out() -> None:
    state = replace(box({"slow": 1200}, {"gpu0": 3000}), disk=SLOW_DISK)
    (advice,) = slow_switches(with_ram_tier(state, 1000))
    assert advice.endswith("The RAM tier of 1000 MiB has no room for its 1.2 GiB: raise ram_tier.budget.")


def test_a_model_that_no_tier_makes_quick_is_advised_otherwise() -> None:
    (advice,) = slow_switches(box({"huge": 2000}, {"gpu0": 3000}))
    assert "even from the RAM tier" in advice
    assert "smaller dtype" in advice


def with_smaller(state: State, model: str, dtype: Dtype, mib: int) -> State:
    known = replace(state.models[model], smaller={**state.models[model].smaller, dtype: Footprint(mib * MIB, 0)})
    return replace(state, models={**state.models, model: known})


def test_int8_is_named_where_it_makes_a_model_quick_enough() -> None:
    (advice,) = slow_switches(with_smaller(box({"huge": 2000}, {"gpu0": 3000}), "huge", "int8", 1000))
    assert advice.endswith("give it a smaller dtype: in int8 about 1.1 s.")


def test_nf4_is_named_where_int8_would_still_be_too_slow() -> None:
    state = with_smaller(box({"huge": 4000}, {"gpu0": 6000}), "huge", "int8", 2100)
    (advice,) = slow_switches(with_smaller(state, "huge", "nf4", 1000))
    assert advice.endswith("give it a smaller dtype: in nf4 about 1.1 s.")


def test_int8_is_not_named_where_it_does_not_help() -> None:
    (advice,) = slow_switches(with_smaller(box({"huge": 4000}, {"gpu0": 6000}), "huge", "int8", 2100))
    assert advice.endswith("give it a smaller dtype.")


def test_the_quickest_gpu_that_can_hold_it_counts() -> None:
    state = box({"m": 1200}, {"gpu0": 3000, "gpu1": 3000, "gpu2": 100})
    quick = replace(state.devices["gpu1"], rates=Rates(1e12, overhead_s=0.0))
    tiny = replace(state.devices["gpu2"], rates=Rates(1e13, overhead_s=0.0))
    state = replace(state, devices={**state.devices, "gpu1": quick, "gpu2": tiny})
    assert list(slow_switches(state)) == []


def test_a_model_that_only_the_cpu_can_hold_needs_no_advice_on_copying() -> None:
    assert list(slow_switches(box({"huge": 5000}, {"gpu0": 100}))) == []
