"""Workers that come up and die, and cards that are lost and found: who has to come back, and who is placed elsewhere."""

from __future__ import annotations

from msgspec.structs import replace

from engine.api import Declined, Done
from engine.core.commands import Evict, Load
from engine.core.devices import Reading
from engine.core.ledger import budget
from engine.core.policy import Policy
from engine.core.records import Notice
from engine.core.sizes import MIB
from engine.core.state import State
from engine.scheduler.board import Patience
from engine.scheduler.device_health import COMES_UP_S
from engine.scheduler.effects import BindModel, KillWorker, ReleaseModel, StartWorker
from engine.scheduler.messages import BindFailed, DeviceRead, ModelReleased, SignOfLife, WorkerDown, WorkerUp
from tests.core.boxes import box, with_resident, with_slab
from tests.scheduler.scripted_world import World


def test_a_dead_worker_loses_its_own_residents_only_and_they_come_back() -> None:
    state = with_resident(with_resident(box({"a": 40, "b": 40}), "a", "gpu0"), "b", "gpu1")
    world = World(state)
    world.kill_worker("gpu0")
    assert world.where() == {"b": "gpu1 ready"}
    assert world.state.devices["gpu0"].reading.health == "starting"

    world.settle()

    assert world.where() == {"a": "gpu0 ready", "b": "gpu1 ready"}
    notices = [e.text for e in world.written if isinstance(e, Notice)]
    assert notices[0] == "the worker of gpu0 was killed by SIGKILL; a will be loaded again"


def test_a_worker_that_keeps_dying_is_started_ever_later_and_its_models_stay_away() -> None:
    world = World(with_resident(box({"a": 40}), "a", "gpu0"))
    delays = []
    for _ in range(4):
        world.kill_worker("gpu0")
        delays.append(world.expect(StartWorker).after_s)
        world.settle()

    assert delays == [0.0, 1.0, 2.0, 4.0]
    assert world.where() == {}


def test_what_was_resident_before_a_restart_is_loaded_when_its_device_is_up() -> None:
    world = World(box({"a": 10, "b": 10}))
    world.scheduler.expect_back([("a", "gpu1"), ("b", "cpu"), ("gone", "gpu0")])
    for device in ("gpu0", "gpu1", "cpu"):
        world.waiting.append(StartWorker(device))
    world.settle()

    assert world.where() == {"a": "gpu1 ready", "b": "cpu ready"}


def card_box() -> State:
    """Two models and one NVIDIA card of 100 MiB."""
    state = box({"a": 30, "b": 30}, {"gpu0": 100})
    spec = replace(state.devices["gpu0"].spec, backing="cuda:0")
    known = replace(state.devices["gpu0"], spec=spec, worker_pid=4711)
    return replace(state, devices={**state.devices, "gpu0": known})


def test_nothing_is_placed_on_a_lost_card_and_its_return_needs_no_restart() -> None:
    world = World(card_box(), Policy(cpu_fallback=False))
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))
    world.send(DeviceRead("gpu0", Reading("lost", "GPU 0 fell off the bus")))
    refused = world.submit(Load("a"))
    world.pass_time(70)
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))
    accepted = world.submit(Load("a"))
    world.settle()

    assert isinstance(world.answers[refused], Declined)
    assert isinstance(world.answers[accepted], Done)
    notices = [e.text for e in world.written if isinstance(e, Notice)]
    assert notices == [
        "gpu0 is lost: GPU 0 fell off the bus",
        "gpu0 answers again; it was lost for 70 s",
    ]


def test_a_context_narrows_the_budget_and_is_given_back_when_it_has_been_idle_for_a_minute() -> None:
    world = World(card_box())
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))
    world.submit(Load("a"))
    world.settle()
    world.submit(Evict("a"))
    release = world.expect(ReleaseModel)
    world.waiting.remove(release)
    world.send(ModelReleased("a", "gpu0", leaked_bytes=0, used_bytes=40 * MIB, context_bytes=40 * MIB))
    assert budget(world.state, "gpu0") == 60 * MIB

    for _ in range(3):
        world.pass_time(31)
        world.send(DeviceRead("gpu0", Reading("ok", "", 40 * MIB, 0)))
    world.settle()

    assert budget(world.state, "gpu0") == 80 * MIB
    assert not any(isinstance(e, Notice) and e.level == "error" for e in world.written)


def test_a_card_that_cannot_run_models_is_said_to_be_unsupported_and_the_model_goes_elsewhere() -> None:
    world = World(with_slab(card_box(), "a"))
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))
    name = world.submit(Load("a"))
    effect = world.expect(BindModel)
    world.waiting.remove(effect)
    world.send(BindFailed("a", "gpu0", "unsupported", "torch was not built for this card"))
    world.settle()
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))

    assert isinstance(world.answers[name], Done)
    assert world.where() == {"a": "cpu ready"}
    reading = world.state.devices["gpu0"].reading
    assert (reading.health, reading.reason) == ("unsupported", "torch was not built for this card")
    notices = [e.text for e in world.written if isinstance(e, Notice)]
    assert notices == ["gpu0 is unsupported: torch was not built for this card"]


def fails_to_open(world: World, submission: str = "") -> str:
    """A load of `a` on gpu0 whose worker finds that it can't use the card."""
    name = submission or world.submit(Load("a", "gpu0"))
    effect = world.expect(BindModel)
    world.waiting.remove(effect)
    world.send(BindFailed("a", "gpu0", "unusable", "CUDA can't be used: busy"))
    world.settle()
    return name


def well_card() -> World:
    world = World(with_slab(card_box(), "a"), Policy(cpu_fallback=False))
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))
    return world


def read_for(world: World, seconds: int) -> list[str]:
    """The card's health at each reading, a second apart, of which the driver says that it is well."""
    seen: list[str] = []
    for _ in range(seconds):
        world.pass_time(1)
        world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))
        world.settle()
        seen.append(world.state.devices["gpu0"].reading.health)
    return seen


def test_a_card_that_a_worker_could_not_use_is_tried_again_with_another_worker_after_growing_pauses() -> None:
    world = well_card()
    fails_to_open(world)
    first = read_for(world, 8)
    fails_to_open(world)
    second = read_for(world, 12)

    assert first.index("ok") == 5
    assert second.index("ok") == 10
    assert [e for e in world.written if isinstance(e, Notice) and "died" in e.text] == []


def test_an_operators_command_tries_a_card_that_could_not_be_used_at_once() -> None:
    world = well_card()
    fails_to_open(world)
    assert world.state.devices["gpu0"].reading.health == "unsupported"
    name = world.submit(Load("a", "gpu0"))
    world.settle()
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))
    world.settle()

    assert isinstance(world.answers[name], Done)
    assert world.where() == {"a": "gpu0 ready"}


def test_a_kind_of_card_that_torch_was_not_built_for_is_unsupported_wherever_there_is_one() -> None:
    state = card_box()
    twin = replace(state.devices["gpu0"], spec=replace(state.devices["gpu0"].spec, id="gpu1"), worker_pid=4712)
    world = World(with_slab(replace(state, devices={**state.devices, "gpu1": twin}), "a"), Policy(cpu_fallback=False))
    for device in ("gpu0", "gpu1"):
        world.send(DeviceRead(device, Reading("ok", "", 0, 0)))
    world.submit(Load("a", "gpu0"))
    world.waiting.remove(world.expect(BindModel))
    world.send(BindFailed("a", "gpu0", "unsupported", "no kernel image is available"))
    world.settle()

    assert world.state.devices["gpu1"].reading.health == "unsupported"
    assert "unsupported" in read_for(world, 20)[-1]


# ── workers that hang ────────────────────────────────────────────────────────────────────────────

HANGS_AFTER = Patience(not_answering_s=15.0, step_s=120.0)


def with_workers(state: State) -> World:
    """A world in which each device's worker is up."""
    world = World(state, patience=HANGS_AFTER)
    for number, device in enumerate(state.devices):
        world.send(WorkerUp(device, 4711 + number))
        world.send(DeviceRead(device, Reading("ok", used_bytes=0, external_bytes=0, at_s=1.0)))
    return world


def healths(world: World) -> dict[str, str]:
    return {device: known.reading.health for device, known in world.state.devices.items()}


def notices_of(world: World) -> list[str]:
    return [entry.text for entry in world.written if isinstance(entry, Notice)]


def test_a_worker_that_is_silent_is_shown_and_takes_no_model_until_it_answers() -> None:
    world = with_workers(box({"a": 40}))
    world.send(SignOfLife("gpu0", 2.0))
    assert healths(world)["gpu0"] == "ok"
    world.send(SignOfLife("gpu0", 3.0))
    world.send(SignOfLife("gpu0", 4.0))
    reading = world.state.devices["gpu0"].reading
    assert reading.health == "not answering"
    assert reading.reason == "its worker has not answered for 4 s and is replaced after 15 s"
    world.submit(Load("a"))
    world.settle()
    assert world.where() == {"a": "gpu1 ready"}

    world.pass_time(2)
    world.send(SignOfLife("gpu0", 0.0))
    assert healths(world)["gpu0"] == "ok"
    assert world.find(KillWorker) is None
    assert notices_of(world) == [
        "gpu0 is not answering: its worker has not answered for 3 s and is replaced after 15 s",
        "gpu0 answers again; its worker did not for 2 s",
    ]


def test_a_silent_worker_is_replaced_when_its_time_is_over_and_its_models_come_back() -> None:
    world = with_workers(with_resident(box({"a": 40}), "a", "gpu0"))
    for silent_s in range(1, 19):
        world.send(SignOfLife("gpu0", silent_s))
    assert [effect for effect in world.waiting if isinstance(effect, KillWorker)] == [KillWorker("gpu0")]
    assert world.state.devices["gpu0"].reading.reason == "its worker has not answered for 18 s and was told to end"
    lease = world.ask("a")
    world.settle()

    assert world.where() == {"a": "gpu0 ready"}
    assert healths(world)["gpu0"] == "ok"
    assert lease in world.granted
    assert "the worker of gpu0 gave no sign of life for 15 s and was ended; a will be loaded again" in notices_of(world)


def test_a_worker_whose_run_makes_no_progress_is_replaced_too() -> None:
    world = with_workers(with_resident(box({"a": 40}), "a", "gpu0"))
    world.send(SignOfLife("gpu0", 0.0, {"a": 119.0}))
    assert world.find(KillWorker) is None
    world.send(SignOfLife("gpu0", 0.0, {"a": 120.0}))
    world.settle()

    assert world.where() == {"a": "gpu0 ready"}
    assert notices_of(world)[0] == (
        "the worker of gpu0 was busy with one step of a for 120 s and was ended; a will be loaded again"
    )


def test_a_load_under_way_on_a_worker_that_hangs_is_tried_once_more() -> None:
    world = with_workers(with_slab(box({"a": 40}), "a"))
    name = world.submit(Load("a", "gpu0"))
    world.waiting.remove(world.expect(BindModel))  # the worker hangs in it
    world.send(SignOfLife("gpu0", 16.0))
    world.settle()

    assert isinstance(world.answers[name], Done)
    assert world.where() == {"a": "gpu0 ready"}


def test_a_worker_that_is_slow_to_load_is_not_taken_for_one_that_hangs() -> None:
    world = with_workers(with_slab(box({"a": 40}), "a"))
    world.submit(Load("a", "gpu0"))
    for _ in range(100):
        world.pass_time(1.0)
        world.send(SignOfLife("gpu0", 0.0))
    assert world.find(KillWorker) is None
    assert world.find(BindModel) is not None


def test_a_person_s_load_waits_for_a_device_that_does_not_answer() -> None:
    world = with_workers(with_resident(box({"a": 40, "b": 40}, {"gpu0": 100}), "a", "gpu0"))
    world.send(SignOfLife("gpu0", 6.0))
    name = world.submit(Load("b", "gpu0"))
    assert name not in world.answers
    world.send(SignOfLife("gpu0", 16.0))
    world.settle()
    assert isinstance(world.answers[name], Done)


def test_a_card_that_is_read_while_its_worker_hangs_is_well_again_with_the_next_one() -> None:
    world = with_workers(with_resident(card_box(), "a", "gpu0"))
    well = Reading("ok", used_bytes=30 * MIB, external_bytes=0, at_s=1.0)
    world.send(DeviceRead("gpu0", well))
    for silent_s in range(1, 16):
        world.send(SignOfLife("gpu0", silent_s))
        world.send(DeviceRead("gpu0", well))
    assert healths(world)["gpu0"] == "not answering"
    world.settle()
    assert healths(world)["gpu0"] == "ok"
    assert sum("is not answering" in text for text in notices_of(world)) == 1


def test_a_request_waits_for_the_only_gpu_s_next_worker_instead_of_going_to_the_cpu() -> None:
    world = with_workers(with_resident(box({"a": 40}, {"gpu0": 100}), "a", "gpu0"))
    world.kill_worker("gpu0")
    lease = world.ask("a")
    assert world.where() == {}
    world.settle()
    assert world.granted[lease] == "gpu0"
    assert world.where() == {"a": "gpu0 ready"}


def test_a_request_does_not_wait_for_ever_for_a_worker_that_does_not_come_up() -> None:
    world = with_workers(with_resident(box({"a": 40}, {"gpu0": 100}), "a", "gpu0"))
    world.kill_worker("gpu0")
    world.waiting.remove(world.expect(StartWorker))
    lease = world.ask("a")
    world.pass_time(COMES_UP_S)  # then it asks for a load of its own, which waits for the device for a while
    world.pass_time(HANGS_AFTER.in_use_s)
    world.settle()
    assert world.granted[lease] == "cpu"


def test_a_request_drives_nobody_out_for_a_model_that_is_about_to_come_back() -> None:
    state = box({"a": 60, "b": 60}, {"gpu0": 100, "gpu1": 100})
    world = with_workers(with_resident(with_resident(state, "a", "gpu0"), "b", "gpu1"))
    world.kill_worker("gpu0")
    lease = world.ask("a")
    assert world.where() == {"b": "gpu1 ready"}
    world.settle()
    assert world.granted[lease] == "gpu0"
    assert world.where() == {"a": "gpu0 ready", "b": "gpu1 ready"}


def test_a_request_looks_elsewhere_when_the_next_worker_dies_too() -> None:
    state = box({"a": 60, "b": 60}, {"gpu0": 100, "gpu1": 100})
    world = with_workers(with_resident(state, "a", "gpu0"))
    lease = world.ask("a")
    world.kill_worker("gpu0")
    world.give_back(lease)
    again = world.ask("a")
    assert again not in world.granted
    world.waiting.remove(world.expect(StartWorker))
    world.send(WorkerDown("gpu0", "did not start: exited with status 1"))
    world.settle()
    assert world.granted[again] == "gpu1"


def with_total(mib: int) -> Reading:
    return Reading("ok", "", 0, 0, total_bytes=mib * MIB)


def test_a_total_that_shrinks_beneath_what_is_there_is_told_once_and_nobody_is_driven_out() -> None:
    world = World(card_box(), Policy(cpu_fallback=False))
    world.send(DeviceRead("gpu0", with_total(100)))
    world.submit(Load("a"))
    world.settle()
    for _ in range(3):
        world.send(DeviceRead("gpu0", with_total(30)))
    world.settle()

    assert world.where() == {"a": "gpu0 ready"}
    assert (world.state.devices["gpu0"].spec.total_bytes, budget(world.state, "gpu0")) == (30 * MIB, 24 * MIB)
    assert [e.text for e in world.written if isinstance(e, Notice)] == [
        "gpu0 has 30 MiB of memory now, not 100 MiB as before; what is on it takes 30 MiB, more than the 24 MiB that may be "
        "filled of that: it stays, and nothing is loaded there before enough of it has left"
    ]
    world.submit(Evict("a"))
    world.settle()
    assert world.where() == {}
    world.send(DeviceRead("gpu0", with_total(200)))
    assert budget(world.state, "gpu0") == 160 * MIB


def test_a_total_that_moves_a_little_all_the_time_is_followed_and_not_told() -> None:
    world = World(card_box())
    for mib in (100, 99, 97, 98, 101):
        world.send(DeviceRead("gpu0", with_total(mib)))
        assert world.state.devices["gpu0"].spec.total_bytes == mib * MIB

    assert not any(isinstance(e, Notice) for e in world.written)


def test_who_was_on_a_card_that_is_lost_when_the_engine_starts_comes_when_it_answers() -> None:
    state = card_box()
    unstarted = replace(state.devices["gpu0"], worker_pid=None)
    world = World(replace(state, devices={**state.devices, "gpu0": unstarted}), Policy(cpu_fallback=False))
    world.scheduler.expect_back([("a", "gpu0")])
    world.waiting.append(StartWorker("gpu0"))
    world.settle()
    world.send(DeviceRead("gpu0", Reading("lost", "the driver does not list it")))
    world.pass_time(500)
    noted = world.residencies[-1].residents
    world.send(DeviceRead("gpu0", Reading("starting", "not read twice alike yet")))
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))
    world.settle()

    assert noted == (("a", "gpu0"),)
    assert world.where() == {"a": "gpu0 ready"}
    notices = [e.text for e in world.written if isinstance(e, Notice)]
    assert notices == [
        "gpu0 is lost: the driver does not list it",
        "gpu0 answers again; it was lost for 500 s; loading a again",
    ]


def test_a_request_for_a_model_of_a_lost_card_does_not_wait_for_the_card() -> None:
    state = card_box()
    world = World(state)
    world.send(DeviceRead("gpu0", Reading("lost", "the driver does not list it")))
    world.scheduler.expect_back([("a", "gpu0")])
    world.ask("a")
    world.settle()

    assert world.where() == {"a": "cpu ready"}
