"""Everything that goes wrong on a box, one thing after another, to an engine that clients ask all the while."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final, TypeAlias

from engine.api import Done, EngineError
from engine.client import RemoteEngine
from engine.core.commands import SetPin, Single, Submission, Unpin
from engine.core.names import DeviceId, ModelName
from engine.core.serialization import to_json
from engine.core.tasks import Embed
from engine.lock import Holder, holder
from engine.paths import Paths
from engine.process import ensure_engine
from engine.weights.slab import open_prepared
from engine.wire import RunRequest
from tests.endurance.clients import Ask, assert_same
from tests.endurance.processes import family
from tests.faults.mutations import damaged, mutations
from tests.faults.processes import until
from tests.faults.raw_http import bombard, post

Pins: TypeAlias = dict[ModelName, DeviceId | None]

HOSTILE: Final = 100
"""Requests at a time, and clients that leave."""
FULL: Final = 3
"""Changes of pins on a full disk."""
LONGEST_TOLD: Final = 2000
UNENDING_S: Final = 0.02
"""Waited for an answer to a request that may not be whole."""


class Storm:
    """Its faults, and what must hold after each: the engine answers, every answer is right, and the pins are those that were
    answered as done."""

    def __init__(self, paths: Paths, config: Path, asks: Sequence[Ask], seed: int) -> None:
        self._paths: Final = paths
        self._config: Final = config
        self._asks: Final = asks
        self._random: Final = Random(seed)
        self._engine: Final = RemoteEngine(paths.socket)
        self._pins: list[Pins] = [{}]
        """What is pinned; several where the engine was killed before it answered."""
        self.tried: Final = Counter[str]()
        self.lost: Final = Counter[str]()
        self.wrong: Final = Counter[str]()
        self.traces: Final = Counter[str]()
        self.told: Final[list[str]] = []
        """Of what was lost or wrong, more."""
        self.answered = 0
        self._kind = ""
        self._log_read = 0
        self.kinds: Final[dict[str, Callable[[], Awaitable[int]]]] = {
            "engine killed": self._kill_engine,
            "engine killed while it sets a pin": self._kill_engine_within_a_change,
            "process of it killed": self._kill_process,
            "process of it frozen": self._freeze_process,
            "run folder removed": self._remove_run_folder,
            "bytes of its state damaged, and killed": self._damage_state,
            "byte of a prepared model damaged, and killed": self._damage_slab,
            "file that can't grow": self._full_disk,
            "damaged request": self._send_damaged_requests,
            "client that leaves": self._leave,
        }

    async def blow(self, clients: int, goes_on: Callable[[int], bool]) -> None:
        """One fault of each kind in any order, again and again while it may go on; told how often all of them were tried."""
        async with asyncio.TaskGroup() as tasks:
            crowd = [tasks.create_task(self._client(Random(number))) for number in range(clients)]
            rounds = 0
            while goes_on(rounds):
                for kind in self._random.sample(sorted(self.kinds), len(self.kinds)):
                    self._kind = kind
                    self.tried[kind] += await self.kinds[kind]()
                    await self._look()
                rounds += 1
            for client in crowd:
                client.cancel()

    async def _client(self, random: Random) -> None:
        """Refusals in the engine's words are what a storm brings; anything else ends the test."""
        while True:
            try:
                await self._answer(random.choice(self._asks))
            except EngineError:
                await asyncio.sleep(0.05)

    async def _answer(self, asked: Ask) -> None:
        ran = await self._engine.result(asked.model, asked.task)
        try:
            assert_same(ran, asked)
        except AssertionError as error:
            self.wrong[self._kind] += 1
            self.told.append(f"{self._kind}: {asked}: {error}")
        self.answered += 1

    async def _look(self) -> None:
        for asked in self._asks:
            while True:
                with suppress(EngineError):
                    await self._answer(asked)
                    break
                await asyncio.sleep(0.05)
        pins = await self._pins_now()
        if pins not in self._pins:
            self.lost[self._kind] += 1
            self.told.append(f"{self._kind}: pinned {pins}, wanted {self._pins}")
        self._pins = [pins]
        log = self._paths.log.read_text(errors="replace")
        new = log[self._log_read :] if self._log_read <= len(log) else log
        self._log_read = len(log)
        if found := new.count("Traceback"):
            self.traces[self._kind] += found
            self.told.append(f"{self._kind}: {new[new.index('Traceback') :][:LONGEST_TOLD]}")

    async def _pins_now(self) -> Pins:
        models = (await self._engine.snapshot()).state.models
        return {name: known.pin.device for name, known in models.items() if known.pin}

    # ── the engine and its processes ─────────────────────────────────────────────────────────────

    def _holder(self) -> Holder:
        found = holder(self._paths)
        assert found is not None
        return found

    async def _kill_engine(self) -> int:
        await self._end()
        await self._start()
        return 1

    async def _end(self) -> None:
        os.kill(self._holder().pid, signal.SIGKILL)
        await until(lambda: holder(self._paths) is None)

    async def _start(self) -> None:
        await ensure_engine(self._paths, self._config)

    async def _kill_engine_within_a_change(self) -> int:
        changing = asyncio.create_task(self._change_pins())
        await asyncio.sleep(self._random.random() * 0.02)
        await self._end()
        with suppress(EngineError):
            await changing
        await self._start()
        return 1

    async def _change_pins(self) -> bool:
        """One of the models is pinned, or is not any more. Whether that was answered as done."""
        before = self._pins[-1]
        model = self._random.choice(self._asks).model
        command: Single = Unpin(model) if model in before else SetPin(model)
        after: Pins = {name: device for name, device in before.items() if name != model}
        if isinstance(command, SetPin):
            after[model] = None
        self._pins = [*self._pins, after]
        if done := isinstance(await self._engine.submit(Submission(str(uuid.uuid4()), command)), Done):
            self._pins = [after]
        return done

    async def _kill_process(self) -> int:
        return self._signal_one(signal.SIGKILL)

    async def _freeze_process(self) -> int:
        return self._signal_one(signal.SIGSTOP)

    def _signal_one(self, how: signal.Signals) -> int:
        """One of those that the engine has started: a worker or their fork server."""
        _engine, *others = family(self._holder().pid)
        if others:
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(others), how)
        return len(others[:1])

    # ── what it keeps ────────────────────────────────────────────────────────────────────────────

    async def _remove_run_folder(self) -> int:
        shutil.rmtree(self._paths.run, ignore_errors=True)
        return 1

    async def _damage_state(self) -> int:
        await self._end()
        files = [file for file in self._paths.state.rglob("*") if file.is_file() and file.suffix != ".log"]
        file = self._random.choice(sorted(files))
        file.write_bytes(damaged(self._random, file.read_bytes()))
        await self._start()
        if file == self._paths.residency:  # it was all that knew of them; that it is damaged is told
            self._pins = [await self._pins_now()]
        return 1

    async def _damage_slab(self) -> int:
        await self._end()
        folders = sorted(self._paths.cache.glob("prepared/*"))
        with suppress(EngineError):
            prepared = open_prepared(self._random.choice(folders))
            with prepared.slab_path.open("r+b") as file:
                at = prepared.data_offset + self._random.randrange(prepared.length)
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1 << self._random.randrange(8)]))
        await self._start()
        return 1

    async def _full_disk(self) -> int:
        """No file of the engine grows, while pins are changed and models switch."""
        pid = self._holder().pid
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            for _ in range(FULL):
                with suppress(EngineError):
                    await self._change_pins()
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        self._pins = [await self._pins_now()]
        while not await self._change_pins():
            pass
        return FULL

    # ── clients ──────────────────────────────────────────────────────────────────────────────────

    async def _send_damaged_requests(self) -> int:
        whole = [post("/v1/run", to_json(RunRequest(asked.model, asked.task))) for asked in self._asks]
        await bombard(self._paths, mutations(whole, self._random.randrange(1 << 30), HOSTILE), UNENDING_S)
        return HOSTILE

    async def _leave(self) -> int:
        for _ in range(HOSTILE):
            model = self._random.choice(self._asks).model
            asking = asyncio.create_task(self._engine.result(model, Embed(("a",) * self._random.randint(1, 64))))
            await asyncio.sleep(self._random.random() * 0.02)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        return HOSTILE
