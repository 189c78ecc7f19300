"""The engine as its users see it: one Protocol and its data. The console, the commands and the tests know nothing else.

Two implementations, `engine.runtime.engine.Engine` in this process and `engine.client.RemoteEngine` over the socket, pass
the same contract tests. Requests to models have one channel, `run`; what is said on it is in `engine.core.tasks`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from typing import Final, Protocol, TypeAlias, TypeVar, Unpack

from msgspec import Struct

from engine.answers import Classification, Embeddings, Generation, Reranking, classified_texts, ranked
from engine.core.boxes import BoxView
from engine.core.catalog import CatalogChange
from engine.core.commands import Command, Origin, Submission
from engine.core.insight.request_figures import Asker, RequestFigures, RequestsUnderWay, RequestUnderWay
from engine.core.names import BoxName, DeviceId, ModelName
from engine.core.plans import Plan, Refusal
from engine.core.policy import Policy
from engine.core.proposals import Proposal, Wish
from engine.core.records import PhaseName, Record, Switch
from engine.core.state import State
from engine.core.tasks import (
    Classify,
    Continuation,
    Embed,
    EmbedOptions,
    Generate,
    GenerateSettings,
    LabelScores,
    Message,
    Rerank,
    RunEvent,
    RunResult,
    Scores,
    Task,
    TaskResult,
    Vectors,
)
from engine.core.texts import fault_of_text

PROTOCOL: Final = 7
"""Version of the wire format; a client and an engine that differ refuse each other."""

_OURSELVES: Final = Asker()
ASKER: Final[ContextVar[Asker]] = ContextVar("asker", default=_OURSELVES)
"""Who makes the call that is being answered: set by whoever lets callers in, since they alone know, and a caller might lie."""


class EngineError(Exception):
    """Something that a person should read: what failed, on what, what was kept, what to do next."""


class EngineUnreachable(EngineError):
    """No engine answers, or it stopped answering."""


class OtherVersion(EngineUnreachable):
    """An engine answers, and speaks another version of the protocol."""


class ReadOnly(EngineError):
    """A client that may only watch asked for a change."""


class BadRequest(EngineError):
    """What was asked can't be meant, or is beyond a bound, which it names. Nothing was done, and asking again does not help."""


class UnknownModel(EngineError):
    """The catalog has no model of that name."""


class CannotServe(EngineError):
    """A request's model could not be made ready, or its run failed."""


class Unfit(CannotServe):
    """The request can't be meant as it is: a text that is too long, a prompt that there is not, a task that is not the model's.
    To ask again does not help."""


class Overloaded(CannotServe):
    """More requests wait for the model than are taken; says how many, and when to ask again."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlinePassed(CannotServe):
    """The request was not answered within the time that the settings give it, and was given up."""


class RunStopped(CannotServe):
    """The operator ended the run; says by what."""


class Hello(Struct, frozen=True):
    """Who the engine is."""

    protocol: int
    version: str
    host: str
    pid: int
    started_at_s: float
    config: str
    """Folder of the configuration it runs on."""
    banner: str = ""
    """What every screen must say of this engine: that its GPUs are virtual."""
    policy: Policy = Policy()
    """What it decides by."""
    boxes_since_s: float | None = None
    """When the oldest engine started that a fleet's service speaks for; these go on without it. None for an engine."""


class JobView(Struct, frozen=True):
    """A command under way."""

    id: str
    command: Command
    origin: Origin
    plan: Plan | None
    """None while it waits for a plan that fits."""
    phase: PhaseName
    elapsed_s: float
    waiting_for: str = ""
    """In words, when it waits."""


class Snapshot(Struct, frozen=True):
    """Everything that a screen shows, at one moment."""

    seq: int
    """Grows with every change; equal numbers mean equal snapshots."""
    at_s: float
    """Wall-clock time, seconds since the epoch."""
    state: State
    jobs: tuple[JobView, ...] = ()
    budgets: dict[DeviceId, int] = {}
    """Bytes that the engine may fill now: the fraction of the total, never more than what others leave free."""
    requests: dict[ModelName, RequestFigures] = {}
    """Of each model that was asked for since the engine started."""
    quiet_sample_s: float | None = None
    """Seconds between two readings of a device while a benchmark has the engine keep quiet; None when nobody does."""
    sample_s: float = 1.0
    """The same while nobody does."""
    mono_s: float = 0.0
    """`at_s` on the engine's steady clock, for ages."""
    boxes: dict[BoxName, BoxView] = {}
    """A fleet's machines, in the operator's order; none where one engine speaks for itself. Devices carry their box's name."""


class Updated(Struct, frozen=True, tag="updated"):
    """The newest snapshot; older ones that nobody took are gone."""

    snapshot: Snapshot


class Recorded(Struct, frozen=True, tag="recorded"):
    """A line was written to the journal."""

    record: Record


Event: TypeAlias = Updated | Recorded


class Done(Struct, frozen=True, tag="done"):
    """The plan was carried out. `switch` is None when there was nothing to move."""

    plan: Plan
    switch: Switch | None = None


class Declined(Struct, frozen=True, tag="declined"):
    """No plan, and why."""

    refusal: Refusal


class Failed(Struct, frozen=True, tag="failed"):
    """The plan broke on the way; the state is as if it had not been tried."""

    reason: str
    holds: bool = False
    """Whether it was done all the same, and only is not on the disk, so that a restart would undo it."""
    partly: bool = False
    """Whether some boxes of a fleet did their part all the same; the reason says which."""


class Cancelled(Struct, frozen=True, tag="cancelled"):
    """Somebody took the command back, or a request rescued its victim."""

    reason: str


class Changed(Struct, frozen=True, tag="changed"):
    """Nothing was done: the plan is no longer the one that was confirmed."""

    plan: Plan


Answer: TypeAlias = Done | Declined | Failed | Cancelled | Changed


def why_not_done(answer: Answer) -> str:
    """Why a command came to nothing, in words."""
    match answer:
        case Declined(refusal=refusal):
            return f"refused, {refusal.reason}"
        case Failed(reason=reason) | Cancelled(reason=reason):
            return reason
        case Changed() | Done():
            return "its plan changed meanwhile"


def generation_task(
    model: ModelName, prompt: str | Sequence[Message], max_tokens: int, **settings: Unpack[GenerateSettings]
) -> Generate:
    """The task of a generation. Raises Unfit for one that can't be meant."""
    try:
        return Generate(prompt if isinstance(prompt, str) else tuple(prompt), max_tokens, **settings)
    except ValueError as error:
        raise Unfit(f"{model} was asked for what can't be meant: {error}") from error


def generation_of(ran: RunResult) -> Generation:
    """What was written in a run that ended. Raises CannotServe for one that wrote nothing."""
    wrote = _expected(Continuation, ran)
    ended = wrote.ended, wrote.stop, wrote.prompt_tokens, wrote.seed
    return Generation(ran.model, ran.device, wrote.text, wrote.tokens, ran.seconds, ran.synthetic, *ended)


_R = TypeVar("_R", bound=TaskResult)


class EngineAPI(Protocol):
    """Every method may raise EngineError; none raises anything else on purpose.

    An engine names this as its base: `result`, `embed`, `generate`, `rerank` and `classify` are the same for all of them,
    made of `run`.
    """

    async def hello(self) -> Hello: ...

    async def snapshot(self) -> Snapshot: ...

    def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """First the newest snapshot, then changes as they come, snapshots merged to at most four a second.

        `after`: the last record's sequence number that the caller has; the records after it come again, as far as they are
        kept. None means from now on. Ends with EngineUnreachable when the engine goes.
        """
        ...

    @property
    def silent_s(self) -> float:
        """Since its last sign of life: one a second while its events are followed. In this process it is never silent."""
        return 0.0

    async def records(self, limit: int = 100) -> tuple[Record, ...]:
        """The newest records, oldest first."""
        ...

    async def requests(self) -> RequestsUnderWay:
        """Requests that have not ended, one by one, the oldest first."""
        ...

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        """What `command` would do now; with `now`, if it were to end the runs that are in its way. Changes nothing."""
        ...

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        """The batch that would answer `wish` now, or why there is none. Changes nothing; submit its command to have it done."""
        ...

    async def submit(self, submission: Submission) -> Answer:
        """Carry a command out; returns when it has ended. Raises UnknownModel, ReadOnly.

        An id that was sent before does nothing twice: it joins the wait, or gets the same answer again. Cancelling the
        call ends the waiting, not the command.
        """
        ...

    async def cancel(self, submission_id: str) -> bool:
        """Take a submitted command back; False when it has ended or was never there."""
        ...

    def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        """Have the model carry out the task, loading it when needed: parts as they come, then a RunResult, which is the last.

        Raises UnknownModel, CannotServe (as Unfit, Overloaded, DeadlinePassed or RunStopped, where that is why), ReadOnly: at
        once or while it is iterated, after the first part too. Closing the generator ends the run: it is dropped where it waits,
        and given up after the batch or the token under way where it runs.
        """
        ...

    async def result(self, model: ModelName, task: Task) -> RunResult:
        """What `run` ends with. Raises what `run` raises."""
        async with aclosing(self.run(model, task)) as events:
            async for event in events:
                if isinstance(event, RunResult):
                    return event
        raise EngineError(f"the run of {model} ended without a result")

    async def embed(self, model: ModelName, texts: list[str], **options: Unpack[EmbedOptions]) -> Embeddings:
        """Vectors of `texts`, loading the model when needed; options as in `Embed`. Raises UnknownModel, CannotServe."""
        given = (
            *enumerate(texts, 1),
            ("of the prompt", options.get("prompt_text")),
            ("of its name", options.get("prompt")),
        )
        _check_unicode(*((f"text {which}", text or "") for which, text in given))
        ran = await self.result(model, Embed(tuple(texts), **options))
        made = _expected(Vectors, ran)
        about = made.tokens, made.normalized, made.similarity, made.prompt
        return Embeddings(model, ran.device, made.rows(), ran.seconds, ran.synthetic, *about)

    async def generate(
        self,
        model: ModelName,
        prompt: str | Sequence[Message],
        max_tokens: int = 32,
        **settings: Unpack[GenerateSettings],
    ) -> Generation:
        """What the model writes after a text, or answers in a conversation, loading it when needed. Raises UnknownModel,
        CannotServe."""
        return generation_of(await self.result(model, generation_task(model, prompt, max_tokens, **settings)))

    async def rerank(
        self, model: ModelName, query: str, documents: list[str], top: int | None = None, truncate: bool = False
    ) -> Reranking:
        """The documents by how well they answer `query`, the best `top` of them where it is given. Raises UnknownModel,
        CannotServe, also for a document that is too long, unless `truncate` has it cut."""
        _check_unicode(("the query", query), *((f"document {n}", text) for n, text in enumerate(documents, 1)))
        ran = await self.result(model, Rerank(query, tuple(documents), truncate))
        best = ranked(_expected(Scores, ran))[:top]
        return Reranking(model, ran.device, best, ran.seconds, ran.synthetic)

    async def classify(self, model: ModelName, texts: list[str], truncate: bool = False) -> Classification:
        """What each of `texts` is, of the labels that the model knows. Raises UnknownModel, CannotServe, also for a text that
        is too long, unless `truncate` has it cut."""
        _check_unicode(*((f"text {n}", text) for n, text in enumerate(texts, 1)))
        ran = await self.result(model, Classify(tuple(texts), truncate))
        classified = classified_texts(_expected(LabelScores, ran))
        return Classification(model, ran.device, classified, ran.seconds, ran.synthetic)

    async def cancel_request(self, number: int) -> RequestUnderWay:
        """Give a request up wherever it is; whoever waits for it gets RunStopped. What it was. Raises ReadOnly, and BadRequest
        where no request under way has that number."""
        ...

    async def keep_alive(self, model: ModelName, seconds: float | None) -> None:
        """The model leaves its device once it has been idle for so long: 0 is as soon as nothing runs on it, None is never. That
        holds until somebody says otherwise, and a pin goes before it. Raises UnknownModel, ReadOnly."""
        ...

    async def reload(self) -> CatalogChange:
        """Take up what the catalog's file says now; residents are left alone. Raises ReadOnly, and EngineError for a file that
        has mistakes: nothing has changed then."""
        ...

    async def keep_quiet(self, for_s: float) -> float:
        """Have the engine disturb a benchmark as little as it can for the next `for_s` seconds, at most a minute: devices are
        read now and then, unless a command waits for a reading, and nothing is read ahead, checked or learned. Ask again in
        time to go on; 0 ends it. The seconds between two readings meanwhile. Raises ReadOnly.
        """
        ...

    async def restart_worker(self, device: DeviceId) -> None:
        """End the device's worker and start another; returns when that is up. Runs on it are tried once more, and the models that
        it held are loaded again. Raises ReadOnly, EngineError where the device has no worker."""
        ...

    async def stop(self, *, now: bool = False) -> None:
        """End the engine in order: nothing new is taken, runs under way have until the settings' drain deadline, then the workers
        end and the journal last. `now`: runs are ended at once, also those that an earlier call waits for."""
        ...

    async def close(self) -> None:
        """Let go of this handle. A remote engine goes on."""
        ...


def _expected(kind: type[_R], ran: RunResult) -> _R:
    if not isinstance(ran.result, kind):
        raise CannotServe(f"{ran.model} on {ran.device} answered {type(ran.result).__name__}, not {kind.__name__}")
    return ran.result


def _check_unicode(*texts: tuple[str, str]) -> None:
    """Raises Unfit with the name of a text that can't be written in UTF-8."""
    for name, text in texts:
        if fault := fault_of_text(text):
            raise Unfit(f"{name} {fault}")
