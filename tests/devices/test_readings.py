"""What a card's samples become: readings of the card, or of each slice of it."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.devices import DeviceSpec, Neighbour, Reading
from engine.core.sizes import MIB
from engine.devices.cards import Activity, GpuMemory, GpuProcess, GpuSample
from engine.devices.readings import CardReader
from engine.devices.troubles import Library, library_in

CARD = "GPU-1"
OURS, THEIRS = 4711, 815


class ScriptedCard:
    """One card, as the driver would describe it."""

    def __init__(self) -> None:
        self.library: Library = library_in("ok", "580.1", None, ())
        self.now = GpuSample(CARD, "ok", at_s=100.0)
        self.closed = False

    def holds(self, used_mib: int, *, reserved_mib: int = 0) -> None:
        used, reserved = used_mib * MIB, reserved_mib * MIB
        self.now = replace(self.now, memory=GpuMemory(1000 * MIB, used, 1000 * MIB - used - reserved, reserved))

    async def sample(self) -> tuple[GpuSample, ...]:
        return (self.now,)

    async def close(self) -> None:
        self.closed = True


def specs(**total_mib: int) -> dict[str, DeviceSpec]:
    return {d: DeviceSpec(d, "NVIDIA card", "gpu", "cuda:0", mib * MIB, 0.8) for d, mib in total_mib.items()}


class Reader:
    """A reader of `devices`, all on the one card."""

    def __init__(self, card: ScriptedCard, **total_mib: int) -> None:
        self._specs = specs(**total_mib)
        self._reader = CardReader(card, dict.fromkeys(total_mib, CARD))

    async def read(self, **used_mib: int) -> dict[str, Reading]:
        used_bytes = {device: used_mib.get(device, 0) * MIB for device in self._specs}
        return await self._reader.read(self._specs, used_bytes, {"gpu0": OURS})


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
    reading = (await reader.read(specs(gpu0=1000), {"gpu0": 0}, {}))["gpu0"]

    assert reading == Reading("lost", "the driver does not list it any more")
