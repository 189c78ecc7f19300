"""`GPUManager`: the small synchronous façade for scripts."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, Unpack

from msgspec import Struct

from engine.answers import ClassifiedText, Embeddings, Generation, RankedDocument, TextSoFar
from engine.api import Cancelled, Changed, Declined, Done, EngineAPI, EngineError, Failed, Unfit, generation_of
from engine.client import connect
from engine.core.catalog import CatalogChange
from engine.core.commands import Load, Submission
from engine.core.ledger import charged
from engine.core.model_names import model_meant
from engine.core.models import Dtype
from engine.core.names import DeviceId, ModelName
from engine.core.serialization import Undecodable, converted
from engine.core.tasks import (
    Classify,
    Embed,
    EmbedOptions,
    Generate,
    GenerateSettings,
    Message,
    Rerank,
    RunEvent,
    RunResult,
    Task,
    TaskKind,
    TextPart,
)
from engine.core.texts import in_brief, quoted
from engine.lock import AlreadyRunning, EngineLock
from engine.own_models import NewModel, OwnModels
from engine.paths import find_paths
from engine.process import until_it_answers
from engine.runtime.start import start_engine
from engine.settings import find_config_folder
from engine.transport import NoEngine

_T = TypeVar("_T")
_Asked = TypeVar("_Asked", bound=Task)


class Utilization(Struct, frozen=True):
    """How full a device is."""

    used_bytes: int
    budget_bytes: int
    total_bytes: int

    @property
    def of_budget(self) -> float:
        """Share of what the engine may fill, 0 to 1."""
        return self.used_bytes / self.budget_bytes if self.budget_bytes else 0.0

    @property
    def of_total(self) -> float:
        """Share of the device, 0 to 1."""
        return self.used_bytes / self.total_bytes


class EmbeddedTexts(list[list[float]]):
    """The vectors, one row a text, and what there is to say of them."""

    def __init__(self, made: Embeddings) -> None:
        super().__init__(made.vectors)
        self.tokens = made.tokens
        """What was read and kept of each text."""
        self.normalized = made.normalized
        """Whether the rows have unit length."""
        self.similarity = made.similarity
        """How they are meant to be compared."""

    @property
    def cut(self) -> list[int]:
        """Which texts were cut, counted from 0."""
        return [number for number, tokens in enumerate(self.tokens) if tokens.is_cut]


Heard: TypeAlias = "SimpleQueue[RunEvent | Exception]"
"""Of a run: its parts and its result, or why there is none."""


class TextBeingWritten(Iterator[str]):
    """Gives what a model writes as it comes: never part of a character, and together the text of `result`.

    The run begins when the first piece is asked for. Left early (by `close`, at the end of a `with` block, or when nobody holds
    this any more) it ends after the token under way, and what it held is free for others.
    """

    def __init__(self, pieces: Generator[str, None, Generation]) -> None:
        self._pieces = pieces
        self._result: Generation | None = None

    def __next__(self) -> str:
        """Raises EngineError."""
        try:
            return next(self._pieces)
        except StopIteration as end:
            self._result = self._result or end.value
            raise

    @property
    def result(self) -> Generation:
        """The whole text, why it ended, and how many tokens were read and written. Raises EngineError before the end."""
        if self._result is None:
            raise EngineError("the text has not been iterated to its end, and only then there is a result")
        return self._result

    def close(self) -> None:
        """Leave. Nothing happens when the text has ended."""
        self._pieces.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class GPUManager:
    """Steers the running engine, or one of its own in this process when none runs. Raises EngineError where another script has
    one of its own: there is one engine on the devices.

    Calls block. Close it, or use it in a `with` block: an engine of its own ends with it, a running one goes on.
    """

    def __init__(self, config: Path | str | None = None) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="citadel", daemon=True)
        self._thread.start()
        self._streaming: set[asyncio.Task[None]] = set()
        try:
            self._lock = EngineLock(find_paths(os.environ), "script")
            self._engine = self._wait(_engine(Path(config) if config is not None else None, self._lock))
        except BaseException:
            self._end_loop()
            raise

    def load_model(self, name: ModelName, preferred_gpu: int | None = None) -> DeviceId:
        """Have the model ready, on the preferred GPU when it can be there, else on the best device; where it is now.

        Raises EngineError with the reason when no device can take it.
        """
        if not isinstance(preferred_gpu, int | None):
            raise Unfit(f"preferred_gpu is the number of a GPU, such as 0, not {quoted(preferred_gpu)}")
        devices = [f"gpu{preferred_gpu}"] if preferred_gpu is not None else []
        for device in (*devices, None):
            answer = self._wait(self._engine.submit(Submission(uuid.uuid4().hex, Load(name, device))))
            match answer:
                case Done():
                    return self._where(name, device)
                case Declined(refusal) if device is None:
                    raise EngineError("; ".join((refusal.reason, *refusal.advice)))
                case Failed(reason) | Cancelled(reason):
                    raise EngineError(f"{name} was not loaded: {reason}")
                case Declined() | Changed():
                    continue
        raise EngineError(f"{name} was not loaded")

    def embed(self, name: ModelName, texts: list[str], **options: Unpack[EmbedOptions]) -> EmbeddedTexts:
        """Vectors of `texts`, loading the model when needed. `prompt` is the name of one of the model's, `prompt_text` one in
        so many words; `dimensions` keeps the first so many figures; `truncate` cuts texts that are too long.

        Raises EngineError, also for a text that is too long where `truncate` is not asked for.
        """
        texts = _listed(texts)
        _task(name, Embed, texts=texts, **options)
        return EmbeddedTexts(self._wait(self._engine.embed(name, texts, **options)))

    def generate(
        self,
        name: ModelName,
        prompt: str | Sequence[Message],
        max_tokens: int = 32,
        **settings: Unpack[GenerateSettings],
    ) -> Generation:
        """What the model writes after a text, or answers in a conversation, loading it when needed; why it ended, and how
        many tokens were read and written. Raises EngineError, also for a prompt that leaves no room for `max_tokens`."""
        task = _task(name, Generate, prompt=prompt, max_tokens=max_tokens, **settings)
        return generation_of(self._wait(self._engine.result(name, task)))

    def stream(
        self,
        name: ModelName,
        prompt: str | Sequence[Message],
        max_tokens: int = 32,
        **settings: Unpack[GenerateSettings],
    ) -> TextBeingWritten:
        """The same, piece by piece as the model writes: `for piece in manager.stream(…)`. Raises EngineError, also while it is
        iterated, and where the run had to begin anew for want of room and wrote something else then."""
        task = _task(name, Generate, prompt=prompt, max_tokens=max_tokens, **settings)
        return TextBeingWritten(_pieces(name, lambda heard: self._start(self._hear(name, task, heard)).cancel))

    def rerank(
        self, name: ModelName, query: str, documents: list[str], top: int | None = None, truncate: bool = False
    ) -> tuple[RankedDocument, ...]:
        """The documents by how well they answer `query`, the best first, loading the model when needed.

        A document that is longer than the model reads is refused, or cut with `truncate`. Raises EngineError.
        """
        documents = _listed(documents)
        _task(name, Rerank, query=query, documents=documents, truncate=truncate)
        return self._wait(self._engine.rerank(name, query, documents, top, truncate)).ranked

    def classify(self, name: ModelName, texts: list[str], truncate: bool = False) -> tuple[ClassifiedText, ...]:
        """What each text is: the model's labels with their scores, the best first, loading the model when needed.

        A text that is longer than the model reads is refused, or cut with `truncate`. Raises EngineError.
        """
        texts = _listed(texts)
        _task(name, Classify, texts=texts, truncate=truncate)
        return self._wait(self._engine.classify(name, texts, truncate)).texts

    def add_model(
        self,
        source: str,
        name: ModelName | None = None,
        *,
        task: TaskKind | None = None,
        dtype: Dtype | None = None,
        aliases: Sequence[str] = (),
        max_sequence: int | None = None,
    ) -> ModelName:
        """Put a model of one's own into the catalog, where `source` is `path:DIR` or `hub:REPO[@REVISION]`; what is left out is
        found in its files. It can be loaded at once; its name. Raises EngineError, and nothing has changed then."""
        asked = NewModel(source, name, task, dtype, tuple(aliases), max_sequence)
        return self._wait(self._own_models().add(asked)).known.spec.name

    def remove_model(self, name: str) -> ModelName:
        """Take the model that is meant out of the catalog; one that is on a device answers until it leaves. Its name. Raises
        EngineError."""
        removed, _ = self._wait(self._own_models().remove(name))
        return removed

    def reload(self) -> CatalogChange:
        """Take up what the catalog's file says now. Raises EngineError for one with mistakes, and nothing has changed then."""
        return self._wait(self._engine.reload())

    def get_gpu_utilization(self) -> dict[DeviceId, Utilization]:
        """Every device's figures, the CPU's too."""
        snapshot = self._wait(self._engine.snapshot())
        return {
            device: Utilization(charged(snapshot.state, device), snapshot.budgets[device], known.spec.total_bytes)
            for device, known in snapshot.state.devices.items()
        }

    def close(self) -> None:
        """Let the engine go. Texts that are still being written end."""
        if self._thread.is_alive() and self._pid == os.getpid():
            self._wait(self._leave_streams())
            self._wait(self._engine.close())
            self._lock.release()
            self._end_loop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _own_models(self) -> OwnModels:
        return OwnModels(Path(self._wait(self._engine.hello()).config), os.environ, self._engine)

    def _where(self, name: ModelName, asked: DeviceId | None) -> DeviceId:
        """Of several copies the one on the device that was asked for, else the oldest."""
        state = self._wait(self._engine.snapshot()).state
        meant = model_meant({model: known.spec for model, known in state.models.items()}, name) or name
        here = (state.find(meant, asked) if asked is not None else None) or state.of(meant)[0]
        return here.device

    async def _hear(self, name: ModelName, task: Task, heard: Heard) -> None:
        """Run the task; what is said goes into `heard`, whose reader is another thread."""
        own = asyncio.current_task()
        assert own is not None
        self._streaming.add(own)
        try:
            async with aclosing(self._engine.run(name, task)) as events:
                async for event in events:
                    heard.put(event)
        except Exception as error:
            heard.put(error)
        finally:
            self._streaming.discard(own)
            heard.put(EngineError(f"the text of {name} ended before it was whole"))  # nobody reads on after a result

    async def _leave_streams(self) -> None:
        for streaming in self._streaming:
            streaming.cancel()
        await asyncio.gather(*self._streaming, return_exceptions=True)

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        waiting = self._start(work)
        try:
            return waiting.result()
        finally:
            waiting.cancel()  # who is interrupted leaves: a request that nobody waits for ends

    def _start(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Begin it on the loop. Raises EngineError when that has ended, or is another process's."""
        if self._pid != os.getpid():
            work.close()
            raise EngineError(
                f"this manager is of process {self._pid}, from which this one was forked; only that one can use it. For several"
                " processes run `citadel serve`, and make a GPUManager in each"
            )
        if self._loop.is_closed():
            work.close()
            raise EngineError("this manager was closed; make another one")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _listed(texts: Iterable[str]) -> list[str]:
    """Strings of other libraries become Python's own. Raises Unfit for a text in the place of several."""
    if isinstance(texts, str | bytes):
        raise Unfit(f"texts come as a list, also one alone: [{quoted(texts)}]")
    return [str(text) if isinstance(text, str) else text for text in texts]


def _task(name: ModelName, kind: type[_Asked], **given: object) -> _Asked:
    """Of what a script gives: each of the kind that a worker takes, which would end with anything else. Raises Unfit."""
    if unknown := given.keys() - set(kind.__struct_fields__):
        raise TypeError(f"unexpected keyword arguments: {', '.join(sorted(unknown))}")
    try:
        converted(name, str)
        return converted(given, kind)
    except Undecodable as error:
        raise Unfit(f"{in_brief(str(name))} was asked for what can't be meant: {error}") from error


def _pieces(name: ModelName, begin: Callable[[Heard], Callable[[], object]]) -> Generator[str, None, Generation]:
    """What is new in each part of a run, then its result. `begin` starts the run, and gives what leaves it."""
    heard: Heard = SimpleQueue()
    so_far = TextSoFar()
    leave = begin(heard)
    try:
        while True:
            match heard.get():
                case TextPart() as part:
                    if piece := _not_rewritten(so_far.add(part), name):
                        yield piece
                case RunResult() as ran:
                    wrote = generation_of(ran)
                    if rest := _not_rewritten(so_far.end(wrote.text), name):
                        yield rest
                    return wrote
                case Exception() as error:
                    raise error
    finally:
        leave()


def _not_rewritten(new: str | None, name: ModelName) -> str:
    if new is None:
        raise EngineError(f"{name} had to begin anew for want of room, and wrote something else then; ask again")
    return new


async def _engine(config: Path | None, lock: EngineLock) -> EngineAPI:
    """The engine that runs, or comes up just now; else one of this process, with `lock` held."""
    paths = find_paths(os.environ)
    try:
        return await connect(paths)
    except NoEngine:
        pass
    try:
        lock.take()
    except AlreadyRunning:
        return await until_it_answers(paths)
    try:
        return await start_engine(find_config_folder(config, os.environ, Path.cwd()), os.environ)
    except BaseException:
        lock.release()
        raise
