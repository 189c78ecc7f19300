"""Other programs on cards: each once, the largest first, and on a wide dashboard without a key."""

from __future__ import annotations

from msgspec.structs import replace

from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.programs import program_lines, programs
from engine.core.devices import Neighbour, Reading
from engine.core.sizes import MIB
from engine.core.state import DeviceState, State
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import START_S, scripted_state
from tests.tui.consoles import open_console

TRAIN = Neighbour(7, "python", 200 * MIB, "alice", "python train.py --epochs 3", int(START_S) - 90)
GAME = Neighbour(9, "game", 900 * MIB, "bob", "game --fullscreen", int(START_S) - 7200)


def card(name: str, backing: str, *found: Neighbour) -> DeviceState:
    known = scripted_state().devices["gpu0"]
    reading = Reading("ok", "", 0, 0, neighbours=found, at_s=START_S)
    return replace(known, spec=replace(known.spec, id=name, backing=backing), reading=reading)


def texts(*devices: DeviceState, most: int | None = None, width: int = 100) -> list[str]:
    lines = program_lines(programs(devices), START_S, Paper(width, UNICODE), with_device=True, most=most)
    return [" ".join("".join(span.text for span in line).split()) for line in lines]


def test_the_largest_comes_first_with_user_process_time_and_command() -> None:
    assert texts(card("gpu0", "cuda:0", TRAIN), card("gpu1", "cuda:1", GAME)) == [
        "DEVICE USER PID MiB TIME COMMAND",
        "gpu1 bob 9 900 2h00m game --fullscreen",
        "gpu0 alice 7 200 1m python train.py --epochs 3",
    ]


def test_a_program_on_a_card_with_slices_is_told_once_for_the_card() -> None:
    assert texts(card("gpu0", "cuda:0", TRAIN), card("gpu1", "cuda:0", TRAIN))[1:] == [
        "gpu0 gpu1 alice 7 200 1m python train.py --epochs 3"
    ]


def test_those_that_there_is_no_room_for_are_counted() -> None:
    found = [replace(TRAIN, pid=pid) for pid in range(5)]
    lines = texts(card("gpu0", "cuda:0", *found), most=3)
    assert len(lines) == 4
    assert lines[-1] == "and 3 more, 600 MiB: the devices' pages have them all"


def test_a_long_command_is_cut_in_the_middle() -> None:
    long = replace(TRAIN, command="python train.py --data /srv/data/imagenet --epochs 3")
    assert texts(card("gpu0", "cuda:0", long), width=72)[1].endswith("python trai…--epochs 3")


def with_programs(state: State, *found: Neighbour) -> State:
    return replace(state, devices={**state.devices, "gpu0": card("gpu0", "cuda:0", *found)})


async def test_a_wide_dashboard_lists_them_as_they_come_and_go_and_a_narrow_one_does_not() -> None:
    engine = ScriptedEngine(scripted_state())
    async with open_console(engine, size=(160, 30)) as console:
        engine.set_state(with_programs(engine.state, TRAIN))
        await console.sees("OTHER PROGRAMS 1 on cards")
        assert "alice" in console.painted
        await console.pilot.resize_terminal(159, 30)
        await console.until(lambda: "OTHER PROGRAMS" not in console.painted)
        await console.pilot.resize_terminal(160, 30)
        await console.until(lambda: "OTHER PROGRAMS" in console.painted)
        engine.set_state(with_programs(engine.state))
        await console.until(lambda: "OTHER PROGRAMS" not in console.painted)
