"""Alerts: one cause is one, what is over is told with both times and does not count, and nothing outlives its engine."""

from __future__ import annotations

from msgspec.structs import replace

from citadel_tui.viewmodel.dashboard.alerts import alert_line, alert_lines, alerts_of, unseen
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.words.alerts import Alert, alerts, gone_with, lasting_of
from engine.api import PROTOCOL, Hello, JobView, Snapshot
from engine.core.boxes import BoxView
from engine.core.commands import Load
from engine.core.devices import DRIVER, Reading
from engine.core.insight.request_figures import RequestFigures
from engine.core.names import DeviceId, ModelName
from engine.core.plans import EvictStep, LoadStep, Plan, Step
from engine.core.records import Entry, Notice, Phases, Record, Switch
from engine.core.sizes import MIB
from engine.core.state import DeviceState
from tests.scripted_plans import START_S, scripted_state

HELLO = Hello(PROTOCOL, "0", "box", 1, START_S, "/etc/citadel")
LOST = Reading("lost", "it fell off the bus")


def snapshot(**changes: object) -> Snapshot:
    """A quiet box with gpu0 changed."""
    state = scripted_state()
    gpu0: DeviceState = replace(state.devices["gpu0"], **changes)
    return Snapshot(1, START_S, replace(state, devices={**state.devices, "gpu0": gpu0}))


def with_readings(**readings: Reading) -> Snapshot:
    state = scripted_state()
    ill = {name: replace(state.devices[name], reading=reading) for name, reading in readings.items()}
    return Snapshot(1, START_S, replace(state, devices={**state.devices, **ill}))


def found(*entries: Entry, on: Snapshot | None = None, hello: Hello = HELLO, later_s: float = 0.0) -> tuple[Alert, ...]:
    records = tuple(Record(number, entry) for number, entry in enumerate(entries, 1))
    return alerts(hello, on or snapshot(), records, START_S - 60, later_s)


def texts(all_of_them: tuple[Alert, ...]) -> list[str]:
    return [alert.text for alert in all_of_them]


def over(all_of_them: tuple[Alert, ...]) -> list[tuple[str, float, float]]:
    """Text and both times, seconds after the start."""
    gone = (alert for alert in all_of_them if alert.until_s is not None)
    return [(a.text, (a.at_s or 0.0) - START_S, (a.until_s or 0.0) - START_S) for a in gone]


def began(at_s: float, text: str, condition: str) -> Notice:
    return Notice(START_S + at_s, "error", text, condition=condition)


def ended(at_s: float, text: str, condition: str) -> Notice:
    return Notice(START_S + at_s, "info", text, condition=condition, over=True)


def switch(model: ModelName, *victims: ModelName, at_s: float = 0.0, reason: str = "") -> Switch:
    device: DeviceId = "gpu0"
    leave: tuple[Step, ...] = tuple(EvictStep(victim, device, MIB) for victim in victims)
    steps = (*leave, LoadStep(model, device, MIB, "ram"))
    plan = Plan(Load(model), steps, ())
    done = Switch(f"{model} {at_s}", plan, "request", START_S + at_s, 0.5, Phases(copy=0.5))
    return replace(done, outcome="failed", reason=reason) if reason else done


def test_a_quiet_box_and_one_that_starts_have_none() -> None:
    assert found(Notice(START_S, "info", "gpu0 answers again"), switch("bge-base")) == ()
    assert found(on=with_readings(gpu0=Reading("starting"), gpu1=Reading("starting"), cpu=Reading("starting"))) == ()


def test_a_device_in_trouble_is_one_with_its_reason_and_since_when() -> None:
    told = began(5, "gpu0 is lost: it fell off the bus", "gpu0")
    (alert,) = found(told, on=snapshot(reading=LOST))
    assert (alert.text, alert.at_s, alert.until_s) == ("gpu0 is lost: it fell off the bus", START_S + 5, None)


def test_what_one_driver_does_to_all_its_cards_is_one() -> None:
    ill = {f"gpu{n}": Reading("stale", f"no answer for {n} s", 1, 1, cause=DRIVER) for n in range(2)}
    (alert,) = found(began(5, "no card can be read: no answer for 2 s", DRIVER), on=with_readings(**ill))
    assert (alert.text, alert.at_s) == ("gpu0, gpu1 are stale: no answer for 0 s", START_S + 5)


def test_two_cards_that_are_lost_for_reasons_of_their_own_are_two() -> None:
    both = found(on=with_readings(gpu0=LOST, gpu1=Reading("lost", "it was pulled out")))
    assert texts(both) == ["gpu0 is lost: it fell off the bus", "gpu1 is lost: it was pulled out"]


def test_a_trouble_that_ended_is_told_in_the_past_tense_with_both_times_and_does_not_count() -> None:
    told = found(
        began(5, "gpu0 is lost: it fell off the bus", "gpu0"),
        ended(75, "gpu0 answers again; it was lost for 70 s", "gpu0"),
    )
    assert lasting_of(told) == ()
    text = "gpu0 answers again; it was lost for 70 s (told then: gpu0 is lost: it fell off the bus)"
    assert over(told) == [(text, 5, 75)]


def test_deaths_of_one_worker_are_one_until_it_is_back() -> None:
    dies = [began(at_s, f"the worker of gpu0 died, time {at_s}", "the worker of gpu0") for at_s in (1, 2, 3)]
    lasting = found(*dies)
    assert [(a.text, a.at_s) for a in lasting] == [("the worker of gpu0 died, time 3", START_S + 1)]
    back = found(*dies, ended(4, "the worker of gpu0 died, time 3; another one was up after 3 s", "the worker of gpu0"))
    assert over(back) == [("the worker of gpu0 died, time 3; another one was up after 3 s", 1, 4)]


def test_the_same_trouble_again_is_another_one_to_be_seen() -> None:
    first = began(1, "the disk is full", "files")
    again = (first, ended(2, "it was full", "files"), began(3, "the disk is full", "files"))
    seen = frozenset(alert.id for alert in found(first))
    assert texts(unseen(found(*again), seen)) == ["the disk is full"]


def test_nothing_of_an_earlier_engine_is_told_as_present() -> None:
    earlier = (
        began(1, "gpu0 is lost: it fell off the bus", "gpu0"),
        Notice(START_S + 2, "warning", "the worker was killed"),
        switch("bge-base", at_s=3, reason="out of memory"),
    )
    told = found(*earlier, hello=replace(HELLO, started_at_s=START_S + 10))
    assert lasting_of(told) == ()
    assert over(told) == [
        ("an earlier engine said: gpu0 is lost: it fell off the bus", 1, 10),
        ("an earlier engine said: the worker was killed", 2, 10),
    ]


def test_of_a_fleet_each_boxs_own_engine_counts_and_not_its_service() -> None:
    boxes = {"box1": BoxView("ready", started_at_s=START_S), "box2": BoxView("ready", started_at_s=START_S + 10)}
    of_boxes = replace(snapshot(), boxes=boxes)
    service = replace(HELLO, started_at_s=START_S + 99, boxes_since_s=START_S)
    told = found(
        began(1, "box1: the disk is full", "box1: files"),
        replace(began(2, "box2/gpu0 is lost", "box2: gpu0"), device="box2/gpu0"),
        began(11, "box2: the disk is full", "box2: files"),
        on=of_boxes,
        hello=service,
    )
    assert texts(lasting_of(told)) == ["box1: the disk is full", "box2: the disk is full"]
    assert over(told) == [("an earlier engine said: box2/gpu0 is lost", 2, 10)]


def test_a_wall_clock_that_is_put_back_makes_no_trouble_one_of_an_earlier_engine() -> None:
    told = found(Notice(START_S + 1, "info", "it runs"), began(-30, "the disk is full", "files"))
    assert texts(lasting_of(told)) == ["the disk is full"]


def test_figures_that_fail_to_come_are_one_alert_for_all_that_have_none() -> None:
    read = Reading("ok", "", 0, 0, mono_s=0.0)
    quiet = with_readings(gpu0=read, gpu1=read, cpu=read)
    assert found(on=quiet, later_s=2.9) == ()
    assert texts(found(on=quiet, later_s=3.0)) == ["gpu0, gpu1, cpu are stale: it has not been read since"]


def test_what_an_engine_has_not_told_since_its_last_sign_of_life_is_no_alert_of_its_devices() -> None:
    read = Reading("ok", "", 0, 0, mono_s=0.0)
    scene = Scene(START_S, HELLO, with_readings(gpu0=read, gpu1=read), silent_s=60.0, snapshot_age_s=62.9)
    assert alerts_of(scene, START_S - 60) == ()
    [alert] = alerts_of(replace(scene, silent_s=59.5), START_S - 60)
    assert alert.text == "gpu0, gpu1 are stale: it has not been read since"


def test_a_benchmark_that_has_devices_read_seldom_is_no_reason_for_one() -> None:
    read = Reading("ok", "", 0, 0, mono_s=0.0)
    seldom = replace(with_readings(gpu0=read), quiet_sample_s=10.0)
    assert found(on=seldom, later_s=11.0) == ()
    assert texts(found(on=seldom, later_s=12.0)) == ["gpu0 is stale: it has not been read since"]


def test_a_leak_is_one() -> None:
    assert texts(found(on=snapshot(leaked_bytes=3 * MIB))) == ["gpu0: 3 MiB did not come back when a model left"]


def test_loads_that_fail_for_one_reason_are_one_and_over_when_the_model_is_loaded() -> None:
    failed = [switch(model, at_s=at, reason="out of memory") for at, model in enumerate(("a", "b", "a"))]
    assert texts(found(*failed)) == ["loading a, b failed 3 times, at last: out of memory"]
    told = found(*failed, switch("a", at_s=7))
    assert texts(lasting_of(told)) == ["loading b failed: out of memory"]
    assert over(told) == [("loading a failed 2 times, at last: out of memory; it has been loaded since", 0, 7.5)]


def test_the_line_counts_what_lasts_and_the_page_has_what_is_over_apart() -> None:
    told = found(
        began(1, "x", "files"),
        ended(2, "it was x", "files"),
        on=snapshot(leaked_bytes=MIB, reading=Reading("lost", "gone → away")),
    )
    (line,) = alert_line(unseen(told, frozenset()), "!", Paper(60, UNICODE))
    assert "".join(span.text for span in line).rstrip() == " ! 2 alerts  gpu0 is lost: gone → away"
    page = ["".join(span.text for span in line) for line in alert_lines(told, Paper(60, UNICODE))]
    assert page[-2:] == ["Over", " · 08:00:01 to 08:00:02 it was x (told then: x)"]
    assert alert_line((), "!", Paper(60, UNICODE)) == ()
    assert all(span.text.isascii() for line in alert_lines(told, Paper(40, ASCII)) for span in line)


def test_a_page_without_a_lasting_alert_says_that_nothing_is_wrong() -> None:
    told = found(began(1, "x", "files"), ended(2, "it was x", "files"))
    page = ["".join(span.text for span in line).strip() for line in alert_lines(told, Paper(60, UNICODE))]
    assert page[0].endswith("nothing is wrong")


def test_what_a_lost_engine_took_with_it_is_named() -> None:
    job = JobView("1", Load("bge-base"), "operator", None, "copy", 0.1)
    busy = replace(snapshot(), jobs=(job,), requests={"e5-small": RequestFigures(2, 1), "idle": RequestFigures()})
    assert gone_with(busy) == "with it load bge-base (copy), 3 requests of e5-small"
    assert gone_with(snapshot()) == "with it nothing that was under way"
