"""A catalog that changes while models are resident: nobody is touched, and each word of it comes true when it can."""

from __future__ import annotations

from msgspec.structs import replace

from engine.api import Declined
from engine.core.catalog import LEAVING_REMARK, CatalogChange, catalog_change_text
from engine.core.commands import Evict, Load, SetPin
from engine.core.models import Dtype, Footprint, Limits
from engine.core.names import ModelName
from engine.core.state import ModelState
from engine.scheduler.effects import DropSlab, ForgetModel, KnowModel, ReadSlab
from engine.scheduler.messages import CatalogRead, KeepAlive, RunMeasured
from tests.core.boxes import box, with_demand, with_resident, with_slab
from tests.scheduler.scripted_world import World


def listed(name: ModelName, mib: int = 20, *, dtype: Dtype = "float32", aliases: tuple[str, ...] = ()) -> ModelState:
    known = box({name: mib}).models[name]
    return replace(known, spec=replace(known.spec, dtype=dtype, aliases=aliases))


def read(world: World, *models: ModelState) -> CatalogChange:
    """The catalog has these now."""
    names = tuple(model.spec.name for model in models)
    world.send(CatalogRead(names, {model.spec.name: model for model in models}))
    return world.catalog_changes[-1]


def test_a_new_model_is_known_at_once_and_can_be_loaded() -> None:
    world = World(with_resident(box({"a": 20}), "a", "gpu0"))

    assert read(world, listed("b"), listed("a")) == CatalogChange(added=("b",))

    assert tuple(world.state.models) == ("b", "a")
    world.submit(Load("b"))
    world.settle()
    assert world.where()["b"].endswith("ready")
    assert world.where()["a"] == "gpu0 ready"


def test_a_model_that_nobody_uses_goes_at_once_with_its_slab() -> None:
    world = World(with_slab(box({"a": 20, "b": 20}), "b"))

    assert read(world, listed("a")) == CatalogChange(removed=("b",))

    assert "b" not in world.state.models
    assert world.state.ram.find("b") is None
    assert [type(effect) for effect in world.waiting[:2]] == [DropSlab, ForgetModel]
    answer = world.answers[world.submit(Load("b"))]
    assert isinstance(answer, Declined)
    assert "no model is named b" in answer.refusal.reason


def test_a_model_that_runs_answers_until_it_leaves_and_goes_then() -> None:
    world = World(with_resident(box({"a": 20, "b": 20}), "b", "gpu0"))

    assert read(world, listed("a")) == CatalogChange(leaving=("b",))

    assert world.state.models["b"].remark == LEAVING_REMARK
    assert world.ask("b") in world.granted
    world.give_back(max(world.granted))
    world.submit(Evict("b"))
    world.settle()
    assert "b" not in world.state.models
    assert world.denied[world.ask("b")] == "b was taken out of the catalog before its turn came"


def test_a_model_on_its_way_arrives_before_it_can_go() -> None:
    world = World(box({"a": 20}))
    world.submit(Load("a", "gpu0"))

    assert read(world) == CatalogChange(leaving=("a",))

    world.settle()
    assert world.where() == {"a": "gpu0 ready"}


def test_a_model_that_is_being_read_ahead_goes_once_that_has_ended() -> None:
    world = World(with_demand(box({"a": 20}), "a", 5.0))
    world.pass_time(1)
    world.expect(ReadSlab)

    assert read(world) == CatalogChange(leaving=("a",))

    world.settle()
    assert world.state.models == {}
    assert world.state.ram.slabs == ()


def test_a_model_that_comes_back_before_it_has_gone_stays() -> None:
    world = World(with_resident(box({"a": 20}), "a", "gpu0"))
    read(world)

    assert read(world, listed("a")) == CatalogChange(added=("a",))

    assert world.state.models["a"].remark == ""
    world.submit(Evict("a"))
    world.settle()
    assert "a" in world.state.models


def test_what_is_new_about_a_resident_holds_from_its_next_load_on() -> None:
    world = World(with_resident(box({"a": 20}), "a", "gpu0"))

    assert read(world, listed("a", 10, dtype="float16")) == CatalogChange(later=("a",))

    assert world.state.models["a"] == box({"a": 20}).models["a"]
    assert not any(isinstance(effect, KnowModel) for effect in world.waiting)
    world.submit(Evict("a"))
    world.settle()
    assert world.state.models["a"].spec.dtype == "float16"
    world.submit(Load("a", "gpu0"))
    world.settle()
    resident = world.state.find("a", "gpu0")
    assert resident is not None
    assert resident.footprint.weights_bytes == 10 << 20


def test_the_executor_learns_of_another_model_before_anything_of_it_is_read() -> None:
    world = World(with_slab(box({"a": 20}), "a"))

    read(world, listed("a", 10, dtype="float16"))

    assert [type(effect) for effect in world.waiting[:2]] == [DropSlab, KnowModel]


def test_names_and_wishes_change_at_once_while_the_model_runs() -> None:
    world = World(with_resident(box({"a": 20}), "a", "gpu0"))

    assert read(world, listed("a", aliases=("text-embedding-3-small",))) == CatalogChange(changed=("a",))

    assert world.state.models["a"].spec.aliases == ("text-embedding-3-small",)
    assert world.where() == {"a": "gpu0 ready"}


def test_what_the_operator_said_of_a_model_outlives_a_catalog_that_says_nothing_new_of_it() -> None:
    world = World(with_resident(box({"a": 20}), "a", "gpu0"))
    world.submit(SetPin("a"))
    world.send(KeepAlive("a", 60.0))

    read(world, listed("a", aliases=("b",)))

    known = world.state.models["a"]
    assert known.pin is not None
    assert known.keep_alive_s == 60.0


def test_a_change_that_is_taken_back_before_it_holds_never_does() -> None:
    world = World(with_resident(box({"a": 20}), "a", "gpu0"))
    read(world, listed("a", 10, dtype="float16"))

    assert read(world, listed("a")) == CatalogChange(changed=("a",))

    world.submit(Evict("a"))
    world.settle()
    assert world.state.models["a"].spec.dtype == "float32"


def test_reading_what_is_known_changes_nothing() -> None:
    world = World(with_resident(box({"a": 20}), "a", "gpu0"))
    before = world.state

    assert read(world, listed("a")).is_empty
    assert world.state is before


def test_a_model_that_was_mended_can_be_loaded() -> None:
    state = box({"a": 20})
    broken = replace(state.models["a"], trouble="its weights are cut short", footprint=Footprint(0, 0))
    world = World(replace(state, models={"a": broken}))

    assert read(world, listed("a")) == CatalogChange(changed=("a",))

    world.submit(Load("a", "gpu0"))
    world.settle()
    assert world.where() == {"a": "gpu0 ready"}


def test_a_run_that_ended_with_its_worker_tells_nothing_of_a_model_that_has_gone() -> None:
    world = World(with_resident(box({"a": 20, "b": 20}), "b", "gpu0"))
    world.ask("b")
    read(world, listed("a"))
    world.kill_worker("gpu0")
    world.settle()
    assert "b" not in world.state.models

    world.send(RunMeasured("b", "gpu0", 1 << 20, 0.5))
    world.send(KeepAlive("b", 1.0))


def test_another_limit_is_another_model_and_what_its_runs_took_is_learned_anew() -> None:
    world = World(box({"a": 20}))
    now = listed("a")
    now = replace(now, spec=replace(now.spec, limits=Limits(1, 16)), footprint=Footprint(20 << 20, 4096))

    read(world, now)

    assert world.state.models["a"].footprint == Footprint(20 << 20, 4096)


def test_each_kind_of_change_is_told_by_name() -> None:
    change = CatalogChange(added=("a", "b"), removed=("c",), leaving=("d",), changed=("e",), later=("f",))
    assert catalog_change_text(change) == (
        "added a, b; removed c; d in use, removed once off the device; changed e; f in use, changed from the next load on"
    )
    assert catalog_change_text(CatalogChange()) == "the catalog says what the engine knows already"
