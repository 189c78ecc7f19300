"""What a card's samples become: readings of the card, or of each slice of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.devices import DeviceSpec, Neighbour, Reading
from engine.core.sizes import MIB
from engine.devices.cards import Activity, GpuMemory, GpuProcess, GpuSample
from engine.devices.readings import CardReader, OwnUse
from engine.devices.troubles import Library, library_in

CARD = "GPU-1"
OURS, THEIRS = 4711, 815


class ScriptedCard:
    """One card, as the driver would describe it."""

    def __init__(self) -> None:
        self.library: Library = library_in("ok", "580.1", None, ())
        self.now = GpuSample(CARD, "ok", at_s=100.0)
        self.closed = False

    def holds(self, used_mib: int, *, reserved_mib: int = 0, total_mib: int = 1000) -> None:
        used, reserved, total = used_mib * MIB, reserved_mib * MIB, total_mib * MIB
        self.now = replace(self.now, memory=GpuMemory(total, used, total - used - reserved, reserved))

    async def sample(self) -> tuple[GpuSample, ...]:
        return (self.now,)

    async def close(self) -> None:
        self.closed = True


def specs(**total_mib: int) -> dict[str, DeviceSpec]:
    return {d: DeviceSpec(d, "NVIDIA card", "gpu", "cuda:0", mib * MIB, 0.8) for d, mib in total_mib.items()}


class Reader:
    """A reader of `devices`, all on the one card."""

    def __init__(self, card: ScriptedCard, *, is_whole: bool = False, **total_mib: int) -> None:
        self._specs = {d: replace(spec, is_whole_card=is_whole) for d, spec in specs(**total_mib).items()}
        self._reader = CardReader(card, dict.fromkeys(total_mib, CARD))

    async def read(
        self, *, pid: int | None = OURS, under_way: int = 0, asked: int = 0, **used_mib: int
    ) -> dict[str, Reading]:
        """`under_way` and `asked`: of the worker of gpu0."""
        own = {device: OwnUse(None, used_mib.get(device, 0) * MIB) for device in self._specs}
        own["gpu0"] = replace(own["gpu0"], pid=pid, under_way=under_way, asked=asked)
        return await self._reader.read(self._specs, lambda: own)


async def test_a_card_is_starting_until_two_samples_agree() -> None:
    card = ScriptedCard()
    reader = Reader(card, gpu0=1000)
    card.holds(300)
    first = (await reader.read())["gpu0"]
    second = (await reader.read())["gpu0"]

    assert first.health == "starting"
    assert (second.health, second.used_bytes, second.external_bytes) == ("ok", 300 * MIB, 300 * MIB)


async def test_what_our_worker_holds_is_not_external() -> None:
    card = ScriptedCard()
    reader = Reader(card, gpu0=1000)
    card.holds(500)
    await reader.read(gpu0=400)
    reading = (await reader.read(gpu0=400))["gpu0"]

    assert (reading.used_bytes, reading.external_bytes) == (500 * MIB, 100 * MIB)


async def test_memory_on_the_move_does_not_look_external() -> None:
    card = ScriptedCard()
    reader = Reader(card, gpu0=1000)
    card.holds(100)
    await reader.read()
    await reader.read()
    card.holds(600)  # a load of ours that our own account does not show yet
    reading = (await reader.read())["gpu0"]

    assert reading.external_bytes == 100 * MIB


async def test_bytes_of_a_load_under_way_are_ours_however_long_it_takes() -> None:
    """The worker tells what it holds when it has answered; until then its memory stands still in sample after sample."""
    card = ScriptedCard()
    reader = Reader(card, gpu0=1000)
    card.holds(100)
    await reader.read()
    await reader.read()
    card.holds(600)
    during = [(await reader.read(under_way=1, asked=1))["gpu0"] for _ in range(9)]
    after = [(await reader.read(gpu0=500, asked=1))["gpu0"] for _ in range(2)]

    assert {(reading.used_bytes, reading.external_bytes) for reading in (*during, *after)} == {(600 * MIB, 100 * MIB)}


async def test_a_load_that_comes_and_goes_between_two_readings_says_nothing_of_others() -> None:
    card = ScriptedCard()
    reader = Reader(card, gpu0=1000)
    card.holds(100)
    await reader.read()
    await reader.read()
    card.holds(400)
    await reader.read(under_way=1, asked=1)
    between = (await reader.read(asked=2))["gpu0"]  # its account is of before the second request's end

    assert between.external_bytes == 100 * MIB


async def test_while_our_account_moves_the_drivers_list_tells_what_others_hold() -> None:
    card = ScriptedCard()
    reader = Reader(card, gpu0=1000)
    card.holds(100)
    await reader.read()
    await reader.read()
    card.holds(900)  # ours 500, others 400
    for at_s in (101.0, 102.0):
        listed = Activity(processes=(GpuProcess(OURS, "python", 500 * MIB), GpuProcess(THEIRS, "game", 400 * MIB)))
        card.now = replace(card.now, activity=listed, activity_at_s=at_s, at_s=at_s)
        reading = (await reader.read(under_way=1, asked=1))["gpu0"]

    assert (reading.used_bytes, reading.external_bytes) == (900 * MIB, 400 * MIB)


async def test_a_worker_that_was_killed_is_no_stranger() -> None:
    card = ScriptedCard()
    reader = Reader(card, gpu0=1000)
    card.holds(300)
    await reader.read(gpu0=300)
    card.now = replace(card.now, activity=Activity(processes=(GpuProcess(OURS, "python", 300 * MIB),)))
    reading = (await reader.read(pid=OURS + 1, asked=1))["gpu0"]

    assert reading.neighbours == ()


async def test_slices_of_a_card_are_charged_with_what_others_leave_no_room_for() -> None:
    card = ScriptedCard()
    reader = Reader(card, gpu0=500, gpu1=500)
    card.holds(700)
    await reader.read(gpu0=200, gpu1=100)
    readings = await reader.read(gpu0=200, gpu1=100)

    # 400 MiB are others', 300 are free: gpu0 can have its 200 and those 300, gpu1 its 100 and 300 of the 400 it misses.
    assert (readings["gpu0"].used_bytes, readings["gpu0"].external_bytes) == (200 * MIB, 0)
    assert (readings["gpu1"].used_bytes, readings["gpu1"].external_bytes) == (200 * MIB, 100 * MIB)


async def test_a_lost_card_gives_words_and_an_age_but_no_figures() -> None:
    card = ScriptedCard()
    reader = Reader(card, gpu0=1000)
    card.holds(300)
    await reader.read()
    await reader.read()
    card.now = GpuSample(CARD, "lost", "GPU 0 fell off the bus", at_s=100.0)
    lost = (await reader.read())["gpu0"]
    card.now = GpuSample(CARD, "ok", at_s=200.0)
    card.holds(300)
    back = (await reader.read())["gpu0"]

    assert lost == Reading("lost", "GPU 0 fell off the bus", at_s=100.0)
    assert (back.health, back.used_bytes) == ("ok", 300 * MIB)


async def test_a_stale_card_keeps_its_last_figures() -> None:
    card = ScriptedCard()
    reader = Reader(card, gpu0=1000)
    card.holds(300)
    await reader.read()
    await reader.read()
    card.now = replace(card.now, health="stale", reason="the driver hangs")
    reading = (await reader.read())["gpu0"]

    assert (reading.health, reading.used_bytes, reading.at_s) == ("stale", 300 * MIB, 100.0)


async def test_neighbours_are_the_processes_that_are_not_ours() -> None:
    card = ScriptedCard()
    reader = Reader(card, gpu0=1000)
    card.holds(300)
    processes = (GpuProcess(OURS, "python", 100 * MIB), GpuProcess(THEIRS, None, None))
    card.now = replace(card.now, activity=Activity(processes=processes, temperature_c=54))
    reading = (await reader.read())["gpu0"]

    assert reading.neighbours == (Neighbour(THEIRS, "", None),)
    assert reading.temperature_c == 54


async def test_a_card_that_the_driver_does_not_list_any_more_is_lost() -> None:
    reader = CardReader(ScriptedCard(), {"gpu0": "GPU-gone"})
    reading = (await reader.read(specs(gpu0=1000), lambda: {"gpu0": OwnUse()}))["gpu0"]

    assert reading.health == "lost"
    assert reading.reason.startswith("NVIDIA card is lost: the driver does not list it.")
    assert "`citadel gpus --forget gpu0` forgets it" in reading.reason


@pytest.mark.parametrize("total_mib", [500, 1000, 4000])
async def test_a_card_has_the_memory_that_it_says_now_and_what_it_lost_nobody_holds(total_mib: int) -> None:
    card = ScriptedCard()
    reader = Reader(card, is_whole=True, gpu0=1000)
    for _ in range(2):
        card.holds(300, reserved_mib=20)
        await reader.read(gpu0=200)
    card.holds(300, reserved_mib=20, total_mib=total_mib)
    reading = (await reader.read(gpu0=200))["gpu0"]

    assert reading.total_bytes == (total_mib - 20) * MIB
    assert (reading.used_bytes, reading.external_bytes) == (300 * MIB, 100 * MIB)


async def test_slices_of_a_card_that_is_smaller_now_share_what_is_left_of_it() -> None:
    card = ScriptedCard()
    reader = Reader(card, gpu0=600, gpu1=300)
    totals = []
    for total_mib in (1000, 450, 2000):
        card.holds(0, total_mib=total_mib)
        readings = [await reader.read() for _ in range(2)][-1]
        assert {reading.external_bytes for reading in readings.values()} == {0}
        totals.append([(reading.total_bytes or 0) // MIB for reading in readings.values()])

    assert totals == [[600, 300], [300, 150], [600, 300]]
