"""What would have helped, where that is known by construction: a model takes 3 GB, so a copy takes 1 s and a reading 6 s."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.ledger import arrive, pend, reserve, set_pin
from engine.core.models import Pin
from engine.core.policy import Policy
from engine.core.sizes import GB, GIB, MB, MIB
from engine.recording.trace import TraceError, TraceRequest
from engine.replay.box import Box, starting_state
from engine.simulation.advice import PARTS, Advice, Trying, advise, question
from engine.simulation.variants import Held, Memory, Setup, on_other_gpus, setup_of, variants

TIMES = 16


def asked(models: str) -> list[TraceRequest]:
    """A request every 20 s."""
    return [TraceRequest(20.0 * number, model, 1.0) for number, model in enumerate(models)]


def setup(box: Box, models: str, **sizes_bytes: int) -> Setup:
    return Setup(box, {model: sizes_bytes.get(model, 3 * GB) for model in models})


def advised(setup: Setup, models: str) -> Advice:
    return advise(question(setup, asked(models)), lambda now: None)


def helping(advice: Advice) -> list[str]:
    return [suggestion.title for suggestion in advice.suggestions]


TWO_THAT_DO_NOT_FIT = setup(Box((4 * GB,), ram_bytes=8 * GB), "ab")


def test_two_models_that_alternate_want_a_larger_gpu_another_one_or_to_be_smaller() -> None:
    with_smaller = replace(TWO_THAT_DO_NOT_FIT, smaller={"a": {"int8": 9 * GB // 10, "nf4": GB // 2}})
    advice = advised(with_smaller, "ab" * TIMES)

    assert [title.split(",")[0] for title in helping(advice)] == [
        "a in int8",
        "one more GPU like gpu0",
        "gpu0 with twice the memory",
    ]
    [one_more] = [s for s in advice.suggestions if s.title.startswith("one more GPU")]
    assert one_more.switching.before_s == pytest.approx(1000 + 1000 * 12 / 32)
    assert one_more.switching.saved_s == pytest.approx(1000 - 1000 * 2 / 32)
    assert one_more.wait.saved_s == pytest.approx(30 / 32)
    assert advice.wait_p99_s == pytest.approx(6)


def test_of_a_kind_what_saves_no_more_than_something_cheaper_is_of_no_use() -> None:
    half = replace(TWO_THAT_DO_NOT_FIT, smaller={"a": {"int8": 2 * GB, "nf4": GB // 2}})
    as_well = replace(TWO_THAT_DO_NOT_FIT, smaller={"a": {"int8": 9 * GB // 10, "nf4": GB // 2}})

    saves = [title[:9] for title in helping(advised(half, "ab" * TIMES)) if title.startswith("a in")]
    assert saves == ["a in nf4,", "a in int8"]
    unused = [suggestion.title[:9] for suggestion in advised(as_well, "ab" * TIMES).of_no_use]
    assert "a in nf4," in unused


def test_what_only_sends_requests_to_the_cpu_helps_nobody() -> None:
    advice = advised(TWO_THAT_DO_NOT_FIT, "ab" * TIMES)
    box = replace(TWO_THAT_DO_NOT_FIT, box=Box((6_100 * MB,), ram_bytes=8 * GB), sizes={"a": 3 * GB, "b": 6 * GB})
    pinned = advised(box, "ab" * TIMES)

    assert advice.on_cpu == 0
    [pin] = [suggestion for suggestion in pinned.of_no_use if suggestion.title == "a pinned"]
    assert pin.on_cpu > 0.2
    assert pin.switching.saved_s > pin.switching.give_s


def test_a_policy_that_could_change_nothing_is_of_no_use() -> None:
    advice = advised(TWO_THAT_DO_NOT_FIT, "ab" * TIMES)

    assert "models leave by lru instead of expected_loss" in [s.title for s in advice.of_no_use]


def test_models_that_come_from_disk_each_time_want_a_larger_ram_tier() -> None:
    box = Box((4 * GB,), ram_bytes=3 * GB, copy_bytes_per_s=300e9)
    advice = advised(setup(box, "abc"), "abc" * TIMES)

    assert advice.suggestions[0].title == "RAM tier 8.5 GiB instead of 2.7 GiB"
    assert advice.suggestions[0].cost == "5.8 GiB of host RAM"
    assert advice.suggestions[0].how == "ram_tier.budget: 8704MiB in gpu_allocation.yaml"


def test_a_tier_that_is_short_of_places_and_not_of_bytes_wants_no_limit() -> None:
    box = Box((4 * GB,), ram_bytes=12 * GB, max_models=1, copy_bytes_per_s=300e9)
    advice = advised(setup(box, "abc"), "abc" * TIMES)

    assert advice.suggestions[0].title == "RAM tier without its limit of 1 model"
    assert "ram_tier.max_models: 3" in advice.suggestions[0].how


def test_a_pin_that_keeps_others_out_is_to_be_dropped() -> None:
    pinned = replace(setup(Box((6_100 * MB,), ram_bytes=9 * GB), "abx"), pins={"x": Pin()})
    advice = advised(pinned, "x" + "ab" * TIMES)

    assert "x no longer pinned" in helping(advice)
    [unpin] = [s for s in advice.suggestions if s.title == "x no longer pinned"]
    assert unpin.how == "citadel unpin x"


def test_a_pinned_model_that_nobody_asks_for_takes_room_until_it_is_unpinned() -> None:
    free = setup(Box((6_100 * MB,), ram_bytes=9 * GB), "ab")
    held = replace(free, held={"x": Held(gpu=0, size_bytes=3 * GB)})

    assert advised(held, "ab" * TIMES).switching_s > 3 * advised(free, "ab" * TIMES).switching_s
    best = advised(held, "ab" * TIMES).suggestions[0]
    assert (best.title, best.how) == ("x, which nobody asked for, no longer pinned", "citadel unpin x")


def test_the_engines_pinned_residents_that_nobody_asks_for_are_known() -> None:
    state = starting_state(Box((4 * GB, 4 * GB)), dict.fromkeys("axy", 3 * GB))
    for model, device in (("x", "gpu1"), ("y", "gpu0")):
        state = arrive(reserve(pend(state, model, device, 0.0), model, device, 0.0), model, device, 0.0)
    found = setup_of(set_pin(state, "x", Pin()), Policy(), ["a"])

    assert found.held == {"x": Held(gpu=1, size_bytes=3 * GB)}
    assert found.box_left.gpus_bytes == (4 * GB, 1 * GB)


def test_a_model_pinned_to_the_cpu_stays_there_in_every_variant() -> None:
    on_cpu = replace(TWO_THAT_DO_NOT_FIT, pins={"a": Pin("cpu")})

    assert all(variant.setup.pins["a"] == Pin("cpu") for variant in variants(on_cpu, {"a": 1, "b": 1}))


def test_what_happened_in_one_part_only_helps_nobody_for_sure() -> None:
    often, once = advised(TWO_THAT_DO_NOT_FIT, "ab" * TIMES), advised(TWO_THAT_DO_NOT_FIT, "ab" * 2 + "a" * 28)

    assert helping(often)
    assert helping(once) == []
    assert max(s.switching.saved_s for s in once.of_no_use) > 0


def test_what_costs_waiting_helps_nobody_whatever_switching_it_saves_and_the_other_way_round() -> None:
    advice = advised(TWO_THAT_DO_NOT_FIT, "ab" * TIMES)
    best = advice.suggestions[0]
    loss = replace(best.wait, saved_s=-0.1)

    assert best.helps
    assert not replace(best, wait=loss).helps
    assert not replace(best, switching=loss).helps


def test_the_same_requests_give_the_same_advice_and_progress_reaches_the_end() -> None:
    said: list[Trying] = []
    about = question(TWO_THAT_DO_NOT_FIT, asked("ab" * TIMES))

    assert advise(about, said.append) == advise(about, said.append)
    first = said[: len(said) // 2]
    assert [now.share for now in first] == sorted(now.share for now in first)
    assert (first[0].share, first[-1].share) == (0.0, 1.0)


def test_runs_take_no_time_unless_it_is_said_how_long() -> None:
    quick = question(TWO_THAT_DO_NOT_FIT, asked("ab" * TIMES))
    slow = question(TWO_THAT_DO_NOT_FIT, asked("ab" * TIMES), work_per_s=1 / 30)

    # a model that runs all the time is no victim, so the other one goes to the CPU
    assert advise(quick, lambda now: None).switching_s > advise(slow, lambda now: None).switching_s
    assert any("no time" in remark for remark in quick.remarks)
    assert not any("no time" in remark for remark in slow.remarks)


def test_models_that_are_unknown_or_too_large_are_left_out_and_named() -> None:
    about = question(setup(Box((4 * GB,)), "abL", L=5 * GB), asked("ab" * TIMES + "Lz"))

    assert {request.model for request in about.requests} == {"a", "b"}
    assert about.setup.sizes.keys() == {"a", "b"}
    assert [remark for remark in about.remarks if remark.startswith("left out")] == [
        "left out: z, no longer in the catalog",
        "left out: L, since no GPU here can hold it",
    ]
    assert about.recorded == 2 * TIMES + 2


def test_the_newest_requests_are_replayed_and_the_rest_is_counted() -> None:
    about = question(TWO_THAT_DO_NOT_FIT, asked("ab" * TIMES), most=10)

    assert [request.at_s for request in about.requests] == [20.0 * number for number in range(22, 32)]
    assert advise(about, lambda now: None).recorded == 32


def test_too_few_requests_for_parts_are_refused() -> None:
    with pytest.raises(TraceError, match=r"7 requests .* too few"):
        question(TWO_THAT_DO_NOT_FIT, asked("abababa"[: PARTS - 1]))


def test_requests_that_may_load_nothing_are_replayed_as_if_they_might() -> None:
    about = question(replace(TWO_THAT_DO_NOT_FIT, policy=Policy(dynamic_loading=False)), asked("ab" * TIMES))

    assert any("dynamic_loading is false" in remark for remark in about.remarks)
    assert advise(about, lambda now: None).denied == 0


def test_a_higher_fraction_never_takes_what_others_use() -> None:
    state = starting_state(Box((10 * GIB,)), {"a": 3 * GB})
    gpu0 = state.devices["gpu0"]
    shared = replace(
        gpu0, spec=replace(gpu0.spec, fraction=0.8), reading=replace(gpu0.reading, external_bytes=GIB // 2)
    )
    found = setup_of(replace(state, devices={"gpu0": shared}), Policy(), ["a"])

    assert found.box.gpus_bytes == (8 * GIB,)
    assert found.fractions == ((0.9, (9 * GIB,)), (0.95, (int(9.5 * GIB),)))
    assert [v.how.split(",")[0] for v in variants(found, {"a": 1}) if "filled" in v.title] == [
        "memory_fraction: 0.9 in gpu_allocation.yaml",
        "memory_fraction: 0.95 in gpu_allocation.yaml",
    ]


def test_a_virtual_gpu_more_is_a_line_of_the_configuration_and_costs_host_ram() -> None:
    virtual = replace(setup(Box((512 * MIB,)), "a", a=100 * MIB), memories=(Memory("ram", 640 * MIB),))
    [one_more] = [v for v in variants(virtual, {"a": 1}) if v.title.startswith("one more GPU")]

    assert one_more.cost == "640 MiB of host RAM, since the GPUs are virtual"
    assert one_more.how == (
        "devices.virtual: [{backing: ram, memory: 640MiB}, {backing: ram, memory: 640MiB}] in gpu_allocation.yaml"
    )


@pytest.mark.parametrize(("ram_gb", "titles"), [(6, 0), (5, 1), (1, 2)])
def test_a_ram_tier_is_never_larger_than_all_models(ram_gb: int, titles: int) -> None:
    box = Box((4 * GB,), ram_bytes=ram_gb * GIB)

    assert sum(v.title.startswith("RAM tier") for v in variants(setup(box, "ab"), {})) == titles


def test_titles_are_told_apart() -> None:
    about = question(
        replace(TWO_THAT_DO_NOT_FIT, box=replace(TWO_THAT_DO_NOT_FIT.box, ram_bytes=GB, max_models=1)),
        asked("ab" * TIMES),
    )
    titles = [variant.title for variant in variants(about.setup, {"a": 1, "b": 1})]

    assert len(titles) == len(set(titles))


def test_on_other_gpus_a_pin_to_one_that_is_gone_keeps_its_model_wherever_it_is() -> None:
    before = replace(TWO_THAT_DO_NOT_FIT, pins={"a": Pin("gpu1"), "b": Pin("gpu0"), "c": Pin("cpu")})

    before = replace(before, held={"x": Held(1, GB), "y": Held(0, GB)})

    assert on_other_gpus(before, (4 * GB,)).held == {"y": Held(0, GB)}
    assert on_other_gpus(before, (4 * GB,)).pins == {"a": Pin(), "b": Pin("gpu0"), "c": Pin("cpu")}
