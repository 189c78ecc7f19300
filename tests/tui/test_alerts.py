"""Alerts: what is one, and that it stays announced until somebody has read it."""

from __future__ import annotations

from msgspec.structs import replace

from citadel_tui.viewmodel.dashboard.alerts import THRASH_S, alert_line, alert_lines, alerts, unseen
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from engine.api import Snapshot
from engine.core.commands import Load
from engine.core.devices import Reading
from engine.core.names import DeviceId, ModelName
from engine.core.plans import EvictStep, LoadStep, Plan, Step
from engine.core.records import Entry, Notice, Phases, Record, Switch
from engine.core.sizes import MIB
from engine.core.state import DeviceState
from tests.scripted_plans import START_S, scripted_state
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import open_console


def scene_with(*entries: Entry, **changes: object) -> Scene:
    """A quiet box, with these lines in its log and gpu0 changed."""
    state = scripted_state()
    gpu0: DeviceState = replace(state.devices["gpu0"], **changes)
    state = replace(state, devices={**state.devices, "gpu0": gpu0})
    records = tuple(Record(number, entry) for number, entry in enumerate(entries, 1))
    return Scene(START_S + 10, snapshot=Snapshot(1, START_S, state), records=records)


def switch(model: ModelName, *victims: ModelName, at_s: float = START_S, outcome: str = "done") -> Switch:
    device: DeviceId = "gpu0"
    leave: tuple[Step, ...] = tuple(EvictStep(victim, device, MIB) for victim in victims)
    steps = (*leave, LoadStep(model, device, MIB, "ram"))
    found = Switch(f"{model} {at_s}", Plan(Load(model), steps, ()), "request", at_s, 0.2, Phases(copy=0.2))
    return replace(found, outcome=outcome, reason="out of memory" if outcome == "failed" else "")


def texts(scene: Scene, since_s: float = START_S) -> list[str]:
    return [alert.text for alert in alerts(scene, since_s)]


def test_a_quiet_box_has_no_alert() -> None:
    assert texts(scene_with(Notice(START_S, "info", "gpu0 answers again"), switch("bge-base"))) == []


def test_a_device_in_trouble_is_one_with_its_reason() -> None:
    assert texts(scene_with(reading=Reading("lost", "it fell off the bus"))) == ["gpu0 is lost: it fell off the bus"]
    assert texts(scene_with(reading=Reading("stale", "no answer", 1, 1))) == ["gpu0 is stale: no answer"]


def test_what_a_devices_state_says_is_not_said_twice() -> None:
    said = Notice(START_S, "error", "gpu0 is lost: it fell off the bus", device="gpu0")
    assert len(texts(scene_with(said, reading=Reading("lost", "it fell off the bus")))) == 1


def test_a_leak_is_one() -> None:
    assert texts(scene_with(leaked_bytes=3 * MIB)) == ["gpu0: 3 MiB did not come back when a model left"]


def test_loads_that_fail_are_one_until_the_model_loads_again() -> None:
    failed = [switch("bge-base", at_s=START_S + at, outcome="failed") for at in range(2)]
    assert texts(scene_with(*failed)) == ["loading bge-base failed 2 times, at last: out of memory"]
    assert texts(scene_with(*failed, switch("bge-base", at_s=START_S + 3))) == []


def test_thrash_names_the_model_and_its_cause_and_ends_with_time() -> None:
    swaps = [switch(*pair, at_s=START_S + at) for at in range(3) for pair in (("b", "a"), ("a", "b"))]
    found = scene_with(*swaps)
    assert "thrash: a was taken off and came back 3 times in 5 min, mostly for b" in texts(found)
    assert texts(replace(found, now_s=START_S + 2 * THRASH_S)) == []


def test_warnings_and_errors_of_the_engine_are_alerts_from_an_hour_before_the_console_opened() -> None:
    lines = (
        Notice(START_S - 10, "error", "yesterday's"),
        Notice(START_S, "error", "the journal can't be written: the disk is full"),
        Notice(START_S + 1, "warning", "gpu1: the worker was killed"),
    )
    assert texts(scene_with(*lines)) == [
        "gpu1: the worker was killed",
        "the journal can't be written: the disk is full",
    ]


def test_the_line_has_the_count_the_key_and_the_first_and_is_no_line_without_alerts() -> None:
    found = alerts(scene_with(leaked_bytes=MIB, reading=Reading("lost", "gone → away")), START_S)
    (line,) = alert_line(found, "!", Paper(60, UNICODE))
    assert "".join(span.text for span in line).rstrip() == " ! 2 alerts  gpu0 is lost: gone → away"
    assert alert_line((), "!", Paper(60, UNICODE)) == ()
    assert all(span.text.isascii() for line in alert_lines(found, Paper(40, ASCII)) for span in line)


def test_an_alert_that_ended_and_came_again_is_to_be_seen_again() -> None:
    lost = alerts(scene_with(reading=Reading("lost", "gone")), START_S)
    seen = frozenset(alert.id for alert in lost)
    assert unseen(lost, seen) == ()
    seen &= {alert.id for alert in alerts(scene_with(), START_S)}
    assert unseen(lost, seen) == lost


async def test_an_alert_stays_above_the_keys_until_it_has_been_read() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.sees("! 1 alert  gpu1: the worker was killed by SIGKILL")
        await console.press("down", "escape")
        assert "! 1 alert" in console.text
        await console.press("exclamation_mark")
        await console.sees("Alerts")
        await console.press("escape")
        await console.until(lambda: "1 alert" not in console.text)
        engine.add_notice("the journal can't be written: the disk is full", "error")
        await console.sees("! 1 alert  the journal can't be written")


async def test_a_device_that_is_lost_twice_is_announced_twice() -> None:
    engine = await busy_engine()
    well = engine.state
    gpu1 = replace(well.devices["gpu1"], reading=Reading("lost", "gone"))
    ill = replace(well, devices={**well.devices, "gpu1": gpu1})
    async with open_console(engine) as console:
        for _ in range(2):
            engine.set_state(ill)
            await console.sees("gpu1 is lost: gone")
            await console.press("exclamation_mark")
            await console.sees("[Close]")
            await console.press("escape")
            await console.until(lambda: "alert" not in console.text)
            engine.set_state(well)
            await console.until(lambda: "lost" not in console.text)
