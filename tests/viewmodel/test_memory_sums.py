"""The figures beside a bar and on a device's page sum to what the device reports, whatever is going on there."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from citadel_tui.viewmodel.dashboard.device_rows import device_rows
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE, Glyphs
from citadel_tui.viewmodel.memory_map import occupancy, sum_of
from citadel_tui.viewmodel.pages.device import device_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import width_of
from citadel_tui.words.figures import clock_text
from engine.api import Snapshot
from engine.clock import SystemClock
from engine.core.devices import DeviceSpec, Health, Neighbour, Reading
from engine.core.models import Footprint
from engine.core.sizes import MIB, mib
from engine.core.state import Resident, Stage, State
from engine.devices.cards import GpuMemory, GpuSample
from engine.devices.nvml import NvmlProbe
from engine.devices.readings import CardReader, OwnUse
from tests.scripted_plans import START_S, scripted_budgets, scripted_state

WIDTHS = (60, 80, 160)
STAGES: tuple[Stage, ...] = ("pending", "loading", "ready", "draining", "leaving")
SPEAKING: tuple[Health, ...] = ("ok", "stale")
SILENT: tuple[Health, ...] = ("lost", "unsupported", "failed", "starting")

sizes = st.integers(0, 700 * MIB)
residents = st.lists(
    st.builds(
        lambda number, weights, workspace, stage: Resident(
            f"model-{number}", "gpu0", stage, Footprint(weights, workspace), START_S
        ),
        st.integers(0, 99),
        st.integers(1, 200 * MIB),
        st.integers(0, 50 * MIB),
        st.sampled_from(STAGES),
    ),
    max_size=5,
    unique_by=lambda resident: resident.model,
)


def snapshot_of(
    reading: Reading, found: list[Resident] | None = None, context: int = 0, leaked: int = 0, total: int = 0
) -> Snapshot:
    """gpu0 is a card with that reading."""
    state = scripted_state()
    spec = replace(state.devices["gpu0"].spec, backing="cuda:0", title="NVIDIA GeForce GT 1030")
    spec = replace(spec, total_bytes=total or spec.total_bytes)
    gpu0 = replace(state.devices["gpu0"], spec=spec, reading=reading, context_bytes=context, leaked_bytes=leaked)
    state = replace(state, devices={**state.devices, "gpu0": gpu0}, residents=tuple(found or ()))
    return Snapshot(1, START_S, state, budgets=scripted_budgets(state))


def page(snapshot: Snapshot, width: int = 80, glyphs: Glyphs = UNICODE) -> list[str]:
    lines = device_lines(Scene(START_S, snapshot=snapshot), "gpu0", Paper(width, glyphs))
    assert all(width_of(line) <= width for line in lines)
    return ["".join(span.text for span in line) for line in lines]


def row(snapshot: Snapshot, width: int, glyphs: Glyphs = UNICODE) -> str:
    return "".join(
        span.text for span in device_rows(Scene(START_S, snapshot=snapshot), Paper(width, glyphs), 20).lines[0]
    )


def summed_in_row(text: str) -> int:
    """charged - unused + context + others, as they stand behind the bar."""
    charged, rest = re.findall(r"(\d+)/\d+ MiB(.*)", text)[0]
    marked = {mark: int(figure) for mark, figure in re.findall(r"([░▞▒])(\d+)", rest)}
    return int(charged) - marked.get("░", 0) + marked.get("▞", 0) + marked.get("▒", 0)


def summed_on_page(lines: list[str]) -> tuple[int, int]:
    """The signed figures under "In use", and their sum as it is shown."""
    shown = [re.fullmatch(r" ([-+= ]) +(\d+)  .*", line) for line in lines[lines.index("In use, in MiB") + 1 :][:5]]
    terms = [(match[1], int(match[2])) for match in shown if match]
    return sum(-size if sign == "-" else size for sign, size in terms[:-1]), terms[-1][1]


@given(residents, sizes, sizes, sizes, st.integers(0, 20 * MIB), st.sampled_from(SPEAKING), st.sampled_from(WIDTHS))
def test_the_figures_of_a_device_that_speaks_sum_to_its_reading(
    found: list[Resident], ours: int, external: int, context: int, leaked: int, health: Health, width: int
) -> None:
    reading = Reading(health, "", ours + external, external, at_s=START_S)
    snapshot = snapshot_of(reading, found, context, leaked)
    parts = occupancy(snapshot, "gpu0")
    assert parts.used_bytes == ours + external
    assert parts.unused_bytes >= 0
    sums = sum_of(parts)
    assert sums.charged + sums.context + sums.external - sums.unused == sums.used == mib(ours + external)
    assert summed_in_row(row(snapshot, width)) == sums.used
    assert summed_on_page(page(snapshot, width)) == (sums.used, sums.used)


class Dealt(NvmlProbe):
    """Answers one card's memory, over and over."""

    def __init__(self, total_bytes: int, used_bytes: int) -> None:
        super().__init__(SystemClock())
        memory = GpuMemory(total_bytes, used_bytes, total_bytes - used_bytes, 0)
        self._dealt = GpuSample("GPU-a", "ok", memory=memory, at_s=START_S)

    async def sample(self) -> tuple[GpuSample, ...]:
        return (self._dealt,)


@given(st.integers(0, 300 * MIB), st.integers(0, 300 * MIB), st.integers(0, 700 * MIB), st.sampled_from(WIDTHS))
def test_the_figures_of_a_slice_sum_to_its_reading(first: int, second: int, others: int, width: int) -> None:
    total = 1300 * MIB
    specs = {name: DeviceSpec(name, "slice", "gpu", "cuda:0", total // 2, 0.8) for name in ("gpu0", "gpu1")}
    reader = CardReader(Dealt(total, first + second + others), dict.fromkeys(specs, "GPU-a"))
    ours = {"gpu0": OwnUse(None, first), "gpu1": OwnUse(None, second)}

    async def settled() -> dict[str, Reading]:
        await reader.read(specs, lambda: ours)
        return await reader.read(specs, lambda: ours)

    reading = asyncio.run(settled())["gpu0"]
    resident = Resident("bge-base", "gpu0", "ready", Footprint(first // 2, 0), START_S)
    snapshot = snapshot_of(reading, [resident], context=first - first // 2, total=total // 2)
    assert reading.used_bytes is not None
    assert summed_in_row(row(snapshot, width)) == mib(reading.used_bytes)


def signed(terms: list[tuple[str, int, str]]) -> int:
    return sum(-size if sign == "-" else size for sign, size, _ in terms)


@given(residents, sizes, st.integers(0, 20 * MIB))
def test_the_budget_of_a_page_adds_up_line_by_line(found: list[Resident], external: int, leaked: int) -> None:
    snapshot = snapshot_of(Reading("ok", "", external, external, at_s=START_S), found, 60 * MIB, leaked)
    lines = page(snapshot, 100)
    rows = [re.fullmatch(r" ([-+= ]) +(-?\d+)  (.*)", line) for line in lines[lines.index("Budget, in MiB") + 1 :]]
    terms = [(match[1], int(match[2]), match[3]) for match in rows if match]
    at = [index for index, term in enumerate(terms) if term[0] == "="]
    left, budget, free = (terms[index][1] for index in at[:3])
    assert max(terms[0][1] + signed(terms[1 : at[0]]), 0) == left
    assert budget == min(left, terms[at[0] + 1][1])
    assert budget + signed(terms[at[1] + 1 : at[2]]) == free
    assert (terms[at[2]][2] == "free") == (free >= 0)


def test_the_page_of_a_card_says_what_it_is_known_by() -> None:
    snapshot = snapshot_of(Reading("ok", "", 0, 0, at_s=START_S))
    known = snapshot.state.devices["gpu0"]
    card = replace(known.spec, uuid="GPU-b", bus_id="00000000:02:00.0")
    devices = {**snapshot.state.devices, "gpu0": replace(known, spec=card)}
    lines = page(replace(snapshot, state=replace(snapshot.state, devices=devices)))
    assert "card        GPU-b, PCI bus 00000000:02:00.0" in [line.strip() for line in lines]


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("health", SILENT)
def test_a_device_that_is_silent_shows_words_and_no_figure(health: Health, width: int, glyphs: Glyphs) -> None:
    reading = Reading(health, "the driver says nothing of it", at_s=START_S - 12)
    snapshot = snapshot_of(reading, [Resident("bge-base", "gpu0", "ready", Footprint(MIB, 0), START_S)])
    text = row(snapshot, width, glyphs)
    assert health in text
    since = {"starting": "starting", "lost": f"lost since {clock_text(START_S - 12)}"}.get(health, "last read 12 s ago")
    assert since in text
    assert f"{glyphs.nothing}/{glyphs.nothing} MiB" in text
    assert not re.search(r"\d", text.replace("gpu0", "").replace("GT 1030", "").replace(since, ""))
    assert "In use, in MiB" not in page(snapshot, glyphs=glyphs)
    assert any(line.endswith("held by others: not known") for line in page(snapshot, glyphs=glyphs))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_stale_device_keeps_its_figures_greyed_and_says_how_old_they_are(width: int) -> None:
    reading = Reading("stale", "the driver has not answered for 2 s", 300 * MIB, 300 * MIB, at_s=START_S - 12)
    rows = device_rows(Scene(START_S, snapshot=snapshot_of(reading)), Paper(width, UNICODE), 20).lines
    text = "".join(span.text for span in rows[0])
    assert re.search(r"✗ (stale )?12s +▐", text)
    assert "▒300" in text
    assert {span.role for span in rows[0][1:]} == {"dim"}
    assert "✗ stale, last read 12 s ago: the driver has not" in "".join(span.text for span in rows[1])


def test_a_reason_that_all_cards_share_stands_once() -> None:
    state = scripted_state()
    broken = Reading("failed", "the NVIDIA library and the loaded driver are of different versions", at_s=START_S)
    devices = {name: replace(known, reading=broken) for name, known in state.devices.items() if name != "cpu"}
    state = State({**devices, "cpu": state.devices["cpu"]}, state.models, state.ram)
    rows = device_rows(
        Scene(START_S, snapshot=Snapshot(1, START_S, state, budgets=scripted_budgets(state))), Paper(80, UNICODE), 20
    ).lines
    texts = ["".join(span.text for span in row) for row in rows]
    assert sum("different versions" in text for text in texts) == 1
    assert [text[1:5] for text in texts] == ["gpu0", "gpu1", "    ", "cpu ", "ram "]


def test_a_reason_that_is_too_long_names_the_key_of_the_page_that_has_it_whole() -> None:
    reading = Reading("failed", "a reason of many words " * 20, at_s=START_S)
    rows = device_rows(Scene(START_S, snapshot=snapshot_of(reading)), Paper(60, UNICODE), 20).lines
    assert "".join(span.text for span in rows[2]).rstrip().endswith("… (key 0 shows all)")
    assert "a reason of many words " * 2 in " ".join(line.strip() for line in page(snapshot_of(reading), 200))


def test_temperature_and_how_busy_it_is_stand_beside_the_name_where_there_is_room() -> None:
    reading = Reading("ok", "", 0, 0, temperature_c=54, utilization_percent=7, at_s=START_S)
    assert told(snapshot_of(reading), 60) == "gpu0 54°C"
    assert told(snapshot_of(reading), 80) == "gpu0 54°C 7%"
    assert told(snapshot_of(reading), 160) == "gpu0 NVIDIA GeForce GT 1030 54°C 7%"


def test_a_card_tells_what_other_monitors_show_as_far_as_there_is_room() -> None:
    sensors = (23.4, 75.0, (1227, 3004), 45, 2, "580.65.06, CUDA 13.0")
    reading = Reading("ok", "", 0, 0, 54, 7, (), START_S, *sensors)
    assert told(snapshot_of(reading), 120).endswith("7% 23/75 W")
    assert told(snapshot_of(reading), 200).endswith("7% 23/75 W P2 fan 45% 1227 MHz")
    text = " ".join(" ".join(page(snapshot_of(reading), 120)).split())
    assert (
        "54 °C, 7 % busy, 23 of at most 75 W, clocks 1227 MHz, of its memory 3004 MHz, fan at 45 %, P-state 2" in text
    )
    assert "driver 580.65.06, CUDA 13.0" in text


def told(snapshot: Snapshot, width: int) -> str:
    """What stands before gpu0's bar."""
    return " ".join(row(snapshot, width).partition(UNICODE.start)[0].split())


def test_the_page_names_the_neighbours_largest_first_and_what_can_not_be_seen() -> None:
    train = Neighbour(7, "python", 200 * MIB, "alice", "python train.py --epochs 3", int(START_S) - 11_520)
    neighbours = (Neighbour(12, "Xorg", 40 * MIB), Neighbour(345, "", None), train)
    reading = Reading("ok", "", 240 * MIB, 240 * MIB, neighbours=neighbours, at_s=START_S)
    lines = page(snapshot_of(reading))
    found = [" ".join(line.split()) for line in lines[lines.index("Other programs on the card") + 1 :]]
    assert found == [
        "USER PID MiB TIME COMMAND",
        "alice 7 200 3h12m python train.py --epochs 3",
        "– 12 40 – Xorg",
        "– 345 – – its name can't be seen",
    ]
