"""What NVIDIA's driver says of its cards, for an event loop: samples that come in time, or say why not. It decides nothing.

The driver is asked on one thread of its own, a call at a time. Memory is read with every sample. What costs the driver more
is read every five seconds, and only so much of it at once that the next sample is not late. Trouble of the library or of a
card ends by itself when its cause does: the library is opened again from time to time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from engine.clock import Clock
from engine.core.devices import DRIVER
from engine.devices.cards import FIGURES, Activity, GpuFacts, GpuSample
from engine.devices.driver_thread import DriverThread
from engine.devices.troubles import (
    OF_THE_LIBRARY,
    DriverStuck,
    Library,
    NvmlTrouble,
    failed_library,
    library_in,
    of_card,
    of_library,
    title,
)

if TYPE_CHECKING:
    from engine.devices.driver import Driver, Opened

ACTIVITY_EVERY_S: Final = 5.0
REOPEN_EVERY_S: Final = 10.0
ACTIVITY_SHARE_S: Final = 0.25
"""When reading activity has taken so long within one sample, the other cards' is left for the next."""


class Deadlines(Struct, frozen=True):
    open_s: float = 15.0
    """Without persistence mode the driver wakes each card when the library is opened, up to three seconds for each."""
    call_s: float = 2.0


DEADLINES: Final = Deadlines()
_ANSWERING: Final = ("ok", "no_devices")
"""States in which the driver can be asked; without devices, whether there are any by now."""


class NvmlProbe:
    def __init__(self, clock: Clock, deadlines: Deadlines = DEADLINES) -> None:
        self._clock: Final = clock
        self._deadlines: Final = deadlines
        self._thread: Final = DriverThread(clock.monotonic)
        self._turn: Final = asyncio.Lock()
        self._driver: Driver | None = None
        self._opened_s = float("-inf")
        self._is_half_open = False
        self._counted = 0
        self._counted_s = 0.0
        self._samples: dict[str, GpuSample] = {}
        self._ever: dict[str, GpuFacts] = {}
        self._activity_due_s: dict[str, float] = {}
        self.library: Library = failed_library("the NVIDIA library has not been opened yet")
        self.facts: tuple[GpuFacts, ...] = ()
        """Of what the driver listed when it was last opened: cards in the order of the PCI bus, each before its MIG devices."""

    async def open(self) -> Library:
        """Load the library and find the cards. Never raises: what stands in the way is in the answer."""
        async with self._turn:
            await self._open()
            return self.library

    async def sample(self) -> tuple[GpuSample, ...]:
        """One sample of each card and MIG device that was ever found, in the order in which they were found."""
        async with self._turn:
            if self._should_open_again():
                await self._open()
            if self.library.state in _ANSWERING:
                await self._read_or_open_again()
            if self.library.state not in _ANSWERING:
                self._nobody_can_be_read(self.library)
            return tuple(self._samples.values())

    async def close(self) -> None:
        """Let go of the library. A driver that hangs is left to itself."""
        async with self._turn:
            if self._driver is not None:
                with suppress(DriverStuck):
                    await self._thread.run("closing its library", self._driver.close, self._deadlines.call_s)
            self._thread.stop()

    # ── opening ──────────────────────────────────────────────────────────────────────────────────

    def _should_open_again(self) -> bool:
        if self._is_half_open:
            return True
        listed = {facts.uuid for facts in self.facts}
        is_whole = (
            self.library.state == "ok"
            and not self.library.silent_cards
            and all(sample.health != "lost" and uuid in listed for uuid, sample in self._samples.items())
        )
        return not is_whole and self._clock.monotonic() - self._opened_s >= REOPEN_EVERY_S

    async def _open(self) -> None:
        self._opened_s = self._counted_s = self._clock.monotonic()
        self._is_half_open = False
        try:
            opened = await self._thread.run("opening its library", self._start_driver, self._deadlines.open_s)
        except DriverStuck as stuck:
            # The thread is still at it and may get the library open behind our back, with cards that were never looked for: so
            # the next sample opens it again, whatever its state then.
            self._is_half_open = True
            if not self._samples:  # else each says by itself that it is stale
                self.library = failed_library(str(stuck))
        except NvmlTrouble as trouble:
            self.library = of_library(trouble)
        else:
            self._counted = opened.count
            await self._find_cards(opened)

    def _start_driver(self) -> Opened:
        # On the thread, and not before: pynvml is nothing that a program without a card should wait for.
        from engine.devices.driver import Driver

        self._driver = self._driver or Driver()
        return self._driver.open()

    async def _find_cards(self, opened: Opened) -> None:
        found: list[GpuFacts] = []
        silent: list[str] = []
        for index in range(opened.count):
            describe = partial(self._asked.describe, index, opened.driver_version)
            try:
                found += await self._thread.run(f"looking for GPU {index}", describe, self._deadlines.open_s)
            except (NvmlTrouble, DriverStuck) as why:
                self._is_half_open |= isinstance(why, DriverStuck)
                silent.append(f"GPU {index} did not answer when it was looked for: {why}")
        self.facts = tuple(found)
        for facts in found:
            self._ever[facts.uuid] = facts
            self._samples.setdefault(facts.uuid, GpuSample(facts.uuid, "starting", "it has not been read yet"))
        if silent and not self._ever:
            self.library = replace(failed_library("; ".join(silent)), silent_cards=tuple(silent))
        else:
            versions = opened.driver_version, opened.cuda_driver_version
            self.library = library_in("ok" if opened.count else "no_devices", *versions, tuple(silent))

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    @property
    def _asked(self) -> Driver:
        if self._driver is None:
            raise NvmlTrouble("uninitialized", "the NVIDIA library has not been opened yet")
        return self._driver

    async def _read_or_open_again(self) -> None:
        try:
            await self._read()
        except NvmlTrouble:
            # A driver that was reloaded beneath us answers again once it is opened anew. Once a sample: what does not help the
            # first time waits for the next.
            await self._open()
            if self.library.state in _ANSWERING:
                try:
                    await self._read()
                except NvmlTrouble as again:
                    self.library = of_library(again)

    async def _read(self) -> None:
        """Raises NvmlTrouble when the library as a whole has it."""
        await self._check_count()
        for uuid, facts in self._ever.items():
            await self._read_memory(facts, self._samples[uuid])
        await self._read_activities()

    async def _read_activities(self) -> None:
        """Those that are due, the oldest first."""
        began_s = self._clock.monotonic()
        for uuid in sorted(self._samples, key=lambda uuid: self._activity_due_s.get(uuid, 0.0)):
            if self._samples[uuid].health == "ok" and self._activity_due_s.get(uuid, 0.0) <= began_s:
                await self._read_activity(uuid)
            if self._clock.monotonic() - began_s > ACTIVITY_SHARE_S:
                break

    async def _check_count(self) -> None:
        now_s = self._clock.monotonic()
        if now_s - self._counted_s < ACTIVITY_EVERY_S:
            return
        self._counted_s = now_s
        # A card that the driver has found since makes no call fail: only the count tells.
        try:
            count = await self._thread.run("counting the cards", self._asked.count, self._deadlines.call_s)
        except DriverStuck:
            return  # the reading that follows says so of each card
        if count != self._counted:
            await self._open()

    async def _read_memory(self, facts: GpuFacts, last: GpuSample) -> None:
        doing, read = f"asked for the memory of {title(facts)}", partial(self._asked.memory, facts.uuid)
        try:
            memory = await self._thread.run(doing, read, self._deadlines.call_s)
        except DriverStuck as stuck:
            self._samples[facts.uuid] = replace(last, health="stale", reason=str(stuck), cause=DRIVER)
        except NvmlTrouble as trouble:
            if trouble.kind in OF_THE_LIBRARY:
                raise
            health, reason = of_card(facts, trouble)
            self._samples[facts.uuid] = GpuSample(facts.uuid, health, reason, at_s=last.at_s, mono_s=last.mono_s)
            self._activity_due_s.pop(facts.uuid, None)
        else:
            at_s, mono_s = self._clock.now(), self._clock.monotonic()
            self._samples[facts.uuid] = replace(
                last, health="ok", reason="", cause="", memory=memory, at_s=at_s, mono_s=mono_s
            )

    async def _read_activity(self, uuid: str) -> None:
        activity = Activity()
        for figure in FIGURES:
            doing, read = f"asked for the {figure} of a card", partial(self._asked.figure, uuid, figure)
            try:
                value = await self._thread.run(doing, read, self._deadlines.call_s)
            except DriverStuck:
                return
            except NvmlTrouble as trouble:
                if trouble.kind in OF_THE_LIBRARY:
                    raise
            else:
                activity = replace(activity, **{figure: value})
        self._activity_due_s[uuid] = self._clock.monotonic() + ACTIVITY_EVERY_S
        known = self._samples[uuid]
        self._samples[uuid] = replace(known, activity=activity, activity_at_s=self._clock.now())

    def _nobody_can_be_read(self, library: Library) -> None:
        for uuid, last in self._samples.items():
            why = f"{library.words}. {library.advice}"
            self._samples[uuid] = GpuSample(uuid, "failed", why, at_s=last.at_s, mono_s=last.mono_s, cause=DRIVER)
