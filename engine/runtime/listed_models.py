"""The catalog while the engine lives: read again when somebody asks, watched for changes that nobody has told of, and a model of
it looked at again that could not be loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Final, Literal, Protocol, TypeVar

from engine.api import EngineError, EngineUnreachable
from engine.clock import Clock
from engine.core.catalog import CatalogChange, catalog_change_text
from engine.core.commands import OWN_IDS, Load, Submission
from engine.core.names import ModelName
from engine.core.state import ModelState
from engine.runtime.catalog_reader import CatalogLook, Stamps
from engine.runtime.initial_state import ModelLook
from engine.scheduler.messages import CatalogRead, Message, ModelMended, Submit
from engine.settings.catalog import CATALOG_FILE
from engine.settings.load import ALLOCATION_FILE
from engine.weights.sources import Source

LOOK_S: Final = 10.0
"""For looking at a model's files: they may lie on a network that hangs."""
READ_S: Final = 60.0
"""For looking at the files of all models that are new."""
WATCH_S: Final = 2.0
"""Between two looks at the files of the configuration; a change is told of when they have been left alone for so long."""
_RELOAD: Final = "`citadel models reload` takes it up, and so does the signal HUP"

_T = TypeVar("_T")


class CatalogFile(Protocol):
    """The catalog where it is written down. Each call may block; they are made in threads."""

    def look(self, model: ModelName) -> ModelLook | None: ...

    def read(self, troubled: Collection[ModelName]) -> CatalogLook:
        """Raises SettingsError."""
        ...

    def taken(self, found: CatalogLook) -> None: ...

    def stamps(self) -> Stamps: ...

    def preloaded(self, models: Collection[ModelName]) -> list[ModelName]: ...


class KnowsSources(Protocol):
    """The executor, as far as it is told where models are loaded from."""

    def expect(self, model: ModelName, source: Source) -> None: ...

    def mend(self, known: ModelState, source: Source) -> None: ...


class Note(Protocol):
    """Writes down something that happened without a command."""

    def __call__(self, level: Literal["info", "warning", "error"], text: str) -> None: ...


class ListedModels:
    """One engine's. `known` gives the models as the scheduler has them now."""

    def __init__(
        self,
        known: Callable[[], Mapping[ModelName, ModelState]],
        post: Callable[[Message], None],
        note: Note,
        clock: Clock,
    ) -> None:
        self._begun: tuple[CatalogFile, KnowsSources] | None = None
        self._known: Final = known
        self._post: Final = post
        self._note: Final = note
        self._clock: Final = clock
        self._reading: Final = asyncio.Lock()
        self._taken: asyncio.Future[CatalogChange] | None = None
        """Of the reading under way."""
        self._read: Stamps | None = None
        """The files that were read last."""
        self._reloads = 0

    def begin(self, file: CatalogFile, executor: KnowsSources) -> None:
        """The catalog is this one, and models are loaded by this executor."""
        self._begun = file, executor

    async def look_again(self, models: Iterable[ModelName]) -> None:
        """Somebody may have mended a model that could not be loaded: what was refused at the start is no last word."""
        if self._begun is None:
            return
        file, executor = self._begun
        known = self._known()
        for model in [name for name in models if name in known and known[name].trouble]:
            look = await self._in_time(partial(file.look, model), LOOK_S)
            if look is None:
                return  # they don't say in time: what is known of them has to do
            if look.source is not None:
                executor.mend(look.state, look.source)
            if look.state.trouble != known[model].trouble:
                self._post(ModelMended(look.state))

    async def reload(self) -> CatalogChange:
        """Take up what the catalog says now. Raises EngineError, and nothing has changed then."""
        async with self._reading:  # one after the other: each tells what is new since the one before
            if self._begun is None:
                raise EngineUnreachable("the engine has not begun yet; reload in a moment")
            file, executor = self._begun
            stamps = await asyncio.to_thread(file.stamps)
            troubled = [name for name, known in self._known().items() if known.trouble]
            found = await self._in_time(partial(file.read, troubled), READ_S)
            if found is None:
                raise EngineError(
                    f"the files of the models did not answer within {READ_S:.0f} s; nothing was changed."
                    " Look at the disk that they lie on, and reload again"
                )
            self._read = stamps
            return await self._take(found, file, executor)

    def taken(self, change: CatalogChange) -> None:
        """The scheduler has taken up what was read."""
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(change)

    def end(self, error: EngineError) -> None:
        """Whoever waits for a reading to be taken up hears of the engine's end."""
        if self._taken is not None and not self._taken.done():
            self._taken.set_exception(error)

    async def watch(self) -> None:
        """Tell of files that somebody has changed, once for each change, until cancelled."""
        assert self._begun is not None
        file, _ = self._begun
        told = seen = self._read = self._read or await asyncio.to_thread(file.stamps)
        while True:
            await self._clock.sleep(WATCH_S)
            now = await asyncio.to_thread(file.stamps)
            if now == self._read:
                told = now
            elif now == seen != told:  # not while it is still being written
                self._tell(told := now)
            seen = now

    async def _take(self, found: CatalogLook, file: CatalogFile, executor: KnowsSources) -> CatalogChange:
        # Not by whoever read it: a reading that took too long goes on in its thread, and what it finds must count for nothing.
        file.taken(found)
        for model, look in found.looks.items():
            if look.source is not None:
                executor.expect(model, look.source)
        self._taken = asyncio.get_running_loop().create_future()
        self._post(CatalogRead(tuple(found.listed), {m: look.state for m, look in found.looks.items()}, found.remarks))
        change = await self._taken
        self._note("info", f"the catalog was read again: {catalog_change_text(change)}")
        for remark in change.remarks:
            self._note("warning", remark)
        self._reloads += 1
        for model in file.preloaded(change.added):
            self._post(Submit(Submission(f"{OWN_IDS}preload-{model}-{self._reloads}", Load(model), "config")))
        return change

    def _tell(self, now: Stamps) -> None:
        assert self._read is not None
        if now[CATALOG_FILE] != self._read[CATALOG_FILE]:
            self._note("warning", f"{CATALOG_FILE} has changed; {_RELOAD}")
        if now[ALLOCATION_FILE] != self._read[ALLOCATION_FILE]:
            self._note(
                "warning", f"{ALLOCATION_FILE} has changed; it is read when the engine starts, so restart it for that"
            )

    async def _in_time(self, work: Callable[[], _T | None], limit_s: float) -> _T | None:
        """What `work` gives in a thread; None where it takes too long."""
        looking = asyncio.ensure_future(asyncio.to_thread(work))
        limit = asyncio.ensure_future(self._clock.sleep(limit_s))
        try:
            await asyncio.wait({looking, limit}, return_when=asyncio.FIRST_COMPLETED)
            return looking.result() if looking.done() else None
        finally:
            limit.cancel()
            looking.cancel()  # its thread goes on
