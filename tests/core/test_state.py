"""Who is where, as the state tells it."""

from __future__ import annotations

from msgspec.structs import replace

from tests.core.boxes import box, with_resident, with_slab


def test_residents_are_found_by_device_by_model_and_by_both() -> None:
    state = with_resident(with_resident(box({"a": 1, "b": 1}), "a", "gpu0"), "b", "gpu0")
    state = with_resident(state, "a", "gpu1", stage="loading")

    assert [r.model for r in state.on("gpu0")] == ["a", "b"]
    assert [r.device for r in state.of("a")] == ["gpu0", "gpu1"]
    assert state.find("a", "gpu1") == state.on("gpu1")[0]
    assert state.find("b", "gpu1") is None
    assert state.on("cpu") == state.of("nobody") == ()


def test_each_state_answers_for_itself_also_after_the_one_before_was_asked() -> None:
    before = with_slab(with_resident(box({"a": 1}), "a", "gpu0"), "a")
    assert before.of("a")
    assert before.ram.find("a")

    after = replace(before, residents=(), ram=replace(before.ram, slabs=()))

    assert after.of("a") == after.on("gpu0") == ()
    assert after.ram.find("a") is None
    assert before.find("a", "gpu0")
