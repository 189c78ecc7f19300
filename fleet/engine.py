"""Several engines as one: `EngineAPI` over the boxes of a fleet. It keeps nothing that the boxes don't know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from random import Random
from typing import Any, Final, TypeAlias, TypeVar

from msgspec.structs import replace

from engine.api import (
    Answer,
    BadRequest,
    EngineAPI,
    EngineError,
    EngineUnreachable,
    Event,
    Hello,
    Recorded,
    Snapshot,
    Unfit,
    UnknownModel,
    Updated,
)
from engine.clock import Clock
from engine.core.catalog import CatalogChange
from engine.core.commands import Batch, Command, Single, Submission, fault_of_command, renamed, singles_of
from engine.core.insight.request_figures import LISTED_REQUESTS, RequestsUnderWay, RequestUnderWay
from engine.core.model_names import model_meant, unknown_model
from engine.core.names import BoxName, DeviceId, ModelName, within_box
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Drain, Proposal, Wish
from engine.core.records import Record
from engine.core.tasks import KIND_OF, RunEvent, Task, beyond_bounds
from engine.runtime.ending import Ending
from fleet.answers import merged_change, merged_plan
from fleet.bids import plans_of, refusals
from fleet.core.choose import Ask, cheapest
from fleet.draining import drain_proposed
from fleet.following import Following
from fleet.links import NodeLink
from fleet.naming import on
from fleet.proposing import proposed, wishes_of
from fleet.routing import Route, Unrouted, box_meant, routed, to_be_bid
from fleet.runs import FleetRuns
from fleet.slabs import Slabs
from fleet.submissions import FleetSubmissions

_T = TypeVar("_T")

NEWS_INTERVAL_S: Final = 0.25
"""Subscribers get the newest snapshot at most so often, as from an engine."""
_LONGEST_INTERVAL_S: Final = 1.0
"""And a large one at least so often: engines read their devices once a second, and what changes is to be seen within one."""
_NEWS_BYTES_PER_S: Final = 1_000_000
"""In between, so many bytes: to receive and decode one takes 6 ns, so that a reader has less than 1 % of a core to spend."""
_BYTES_AN_ITEM: Final = 600
"""That a device, a model or a resident is in a snapshot; to encode it only to know would cost as much as to send it."""
_DRAINS_S: Final = 60.0
_STOPPED: Final = "the fleet's service was stopped; the engines of its boxes go on"

ReadAgain: TypeAlias = Callable[[], Awaitable[tuple[str, ...]]]
"""Takes up what the fleet's own file says now; what of it does not hold yet, in words. Raises EngineError for mistakes in it."""


class FleetEngine(EngineAPI):
    """One life of a fleet's service, until `stop`."""

    def __init__(self, hello: Hello, following: Following, clock: Clock, random: Random, read_again: ReadAgain) -> None:
        self._hello: Final = hello
        self._following: Final = following
        self._boxes: Final = following.boxes
        self._sight: Final = following.sight
        self._clock: Final = clock
        self._read_again: Final = read_again
        self._slabs: Final = Slabs(self._boxes, clock.monotonic, following.wake)
        self._submissions: Final = FleetSubmissions(self._boxes, following.history, self._slabs, self._found_route)
        self._ending: Final = Ending(clock, _DRAINS_S, lambda: self._runs.count > 0)
        self._runs: Final = FleetRuns(following, self._slabs, clock.monotonic, random, self._ending.look_again)

    async def stop(self, *, now: bool = False) -> None:
        """End the service, and no engine. Nothing new is taken, and requests that go through it have a minute, unless it is to
        end `now`. Loads and commands go on on their boxes."""
        await self._ending.drained(now=now)
        await self._following.end(_STOPPED)

    async def close(self) -> None:
        """In this process the handle is the service."""
        await self.stop(now=True)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    async def hello(self) -> Hello:
        self._following.refuse_if_ended()
        said = [(name, box.hello) for name, box in self._boxes.items() if box.hello is not None]
        banners = dict.fromkeys(hello.banner for _name, hello in said if hello.banner)
        policy = said[0][1].policy if said else self._hello.policy
        since_s = min((hello.started_at_s for _name, hello in said), default=self._hello.started_at_s)
        return replace(self._hello, banner="; ".join(banners), policy=policy, boxes_since_s=since_s)

    async def snapshot(self) -> Snapshot:
        self._following.refuse_if_ended()
        told, waiting = self._following.snapshot(), self._slabs.jobs()
        return replace(told, jobs=(*told.jobs, *waiting)) if waiting else told

    async def events(self, after: int | None = None) -> AsyncGenerator[Event, None]:
        history = self._following.history
        arrivals, begin = history.arrivals, history.last_seq if after is None else after
        missed = history.after(begin)
        while True:
            # Taken before the snapshot: a change that comes while a subscriber is slow to read must not be slept through.
            changed = self._following.changed
            newest = await self.snapshot()
            yield Updated(newest)
            missed += [record for record in history.since(arrivals) if record.seq > begin]
            arrivals = history.arrivals
            for record in missed:
                yield Recorded(record)
            missed = []
            await self._clock.sleep(news_interval_s(newest))
            await changed.wait()

    async def records(self, limit: int = 100) -> tuple[Record, ...]:
        return self._following.history.newest(limit)

    async def requests(self) -> RequestsUnderWay:
        self._following.refuse_if_ended()
        said, _failed = await self._ask(self._sight.known.ready, lambda _name, link: link.requests())
        held = self._runs.held()
        listed = [replace(one, number=self._number(0, one.number)) for one in held]
        for place, name in enumerate(self._boxes, 1):  # those that are boxes still
            theirs = said[name].requests if name in said else ()
            listed += [_listed(name, one, self._number(place, one.number)) for one in theirs]
        listed.sort(key=lambda one: -one.age_s)
        return RequestsUnderWay(
            tuple(listed[:LISTED_REQUESTS]), len(held) + sum(theirs.count for theirs in said.values())
        )

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        self._following.refuse_if_ended()
        if fault := fault_of_command(command):
            raise BadRequest(f"{fault}; nothing was planned")
        command = renamed(command, self._meant)
        route = await self._found_route(command)
        if isinstance(route, Refusal):
            return route
        planned = merged_plan(command, await self._submissions.plans(route, now=now))
        return replace(planned, reasons=(*planned.reasons, *route.remarks)) if isinstance(planned, Plan) else planned

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        self._following.refuse_if_ended()
        known = self._sight.known
        if isinstance(wish, Drain) and (box := self._boxes.get(wish.device)) is not None:
            return await drain_proposed(box, self._boxes, self._sight, self.plan, self._slabs.bid)
        try:
            wishes = wishes_of(wish, known)
        except Unrouted as unrouted:
            return Refusal(Batch("", ()), unrouted.reason, advice=unrouted.advice)
        said, failed = await self._ask(wishes, lambda name, link: link.propose(wishes[name]))
        if failed and not said:
            raise next(iter(failed.values()))
        return proposed(wish, said, known)

    # ── doing ────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, submission: Submission) -> Answer:
        self._refuse_if_closing()
        await self._following.met()
        return await self._submissions.submit(replace(submission, command=renamed(submission.command, self._meant)))

    async def cancel(self, submission_id: str) -> bool:
        self._following.refuse_if_ended()
        return await self._submissions.cancel(submission_id)

    def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        self._refuse_if_closing()
        model = self._meant(model)
        spec = self._following.models[model].spec
        if spec.task != KIND_OF[type(task)]:
            raise Unfit(f"{model} is for {spec.task}, not for {KIND_OF[type(task)]}")
        if fault := beyond_bounds(task):
            raise Unfit(f"{fault}; nothing was run")
        return self._runs.run(model, task)

    async def cancel_request(self, number: int) -> RequestUnderWay:
        self._following.refuse_if_ended()
        theirs, place = divmod(number, len(self._boxes) + 1)
        try:
            if place == 0:
                return replace(self._runs.stop_held(theirs), number=number)
            box = tuple(self._boxes.values())[place - 1]
            return _listed(box.name, await box.ask(lambda link: link.cancel_request(theirs)), number)
        except BadRequest:  # which names it by the box's own number
            raise BadRequest(f"no request under way has the number {number}: it has ended, or there was none") from None

    async def keep_alive(self, model: ModelName, seconds: float | None) -> None:
        """On each box that has the model and answers."""
        self._following.refuse_if_ended()
        name = self._meant(model)
        await self._of_all(lambda box: name in box.state.models, lambda link: link.keep_alive(name, seconds))

    async def reload(self) -> CatalogChange:
        """Of the fleet's own file, too: boxes that were added or left out, drained ones, what may be where."""
        self._following.refuse_if_ended()
        remarks = await self._read_again()
        change = merged_change(await self._of_all(lambda _box: True, lambda link: link.reload()))
        return replace(change, remarks=(*change.remarks, *remarks, *self._following.remarks()))

    async def keep_quiet(self, for_s: float) -> float:
        self._following.refuse_if_ended()
        return max((await self._of_all(lambda _box: True, lambda link: link.keep_quiet(for_s))).values(), default=0.0)

    async def restart_worker(self, device: DeviceId) -> None:
        self._following.refuse_if_ended()
        try:
            box = box_meant(device, self._sight.known)
        except Unrouted as unrouted:
            raise BadRequest("; ".join((unrouted.reason, *unrouted.advice))) from None
        await self._boxes[box].ask(lambda link: link.restart_worker(within_box(device)))

    # ── where ────────────────────────────────────────────────────────────────────────────────────

    async def _found_route(self, command: Command, confirmed: str | None = None) -> Route | Refusal:
        """Where a command goes that was sent nowhere yet. Raises EngineUnreachable where no box says what it would cost."""
        known = self._sight.known
        try:
            chosen = {
                single: await self._cheapest(single, confirmed)
                for single in singles_of(command)
                if to_be_bid(single, known)
            }
        except Unrouted as unrouted:
            return Refusal(command, unrouted.reason, advice=unrouted.advice)
        return routed(command, known, chosen)

    async def _cheapest(self, single: Single, confirmed: str | None) -> BoxName:
        """The box that would carry it out as it was confirmed, or else the cheapest; where all refuse, the likeliest, whose words
        the operator gets. Raises EngineUnreachable, Unrouted."""
        bidders = self._sight.bidders(single.model)
        if not bidders:
            raise Unrouted(f"no box that may hold {single.model} answers now", "try again when one is back")
        asked = await plans_of(self._boxes, bidders, single)
        plans = {name: plan for name, plan in asked.items() if isinstance(plan, Plan)}
        agreed = [name for name, plan in plans.items() if on(name, plan).effects == confirmed]
        order = self._sight.view.order(single.model)
        bids = cheapest([self._slabs.bid(name, plan) for name, plan in plans.items()], Ask((), order))
        likeliest = [name for name, found in asked.items() if isinstance(found, Refusal)]
        for name in (*agreed, *(bid.box for bid in bids), *likeliest):
            return name
        raise EngineUnreachable(f"no box says what it would do: {refusals(asked)}")

    def _refuse_if_closing(self) -> None:
        self._following.refuse_if_ended()
        self._ending.refuse_if_begun()

    def _meant(self, name: str) -> ModelName:
        """Raises UnknownModel."""
        specs = {model: known.spec for model, known in self._following.models.items()}
        if (model := model_meant(specs, name)) is not None:
            return model
        if not specs:
            away = "; ".join(f"{box.name} is {box.standing}: {box.why}" for box in self._boxes.values())
            raise EngineUnreachable(f"no box of the fleet has answered yet ({away or 'it has none'})")
        raise UnknownModel(unknown_model(specs, name))

    # ── several at once ──────────────────────────────────────────────────────────────────────────

    async def _ask(
        self, names: Iterable[BoxName], question: Callable[[BoxName, NodeLink], Coroutine[Any, Any, _T]]
    ) -> tuple[dict[BoxName, _T], dict[BoxName, EngineError]]:
        """What boxes answer, asked side by side, and what went wrong with the others."""
        said, failed = dict[BoxName, _T](), dict[BoxName, EngineError]()

        async def ask(name: BoxName) -> None:
            try:
                said[name] = await self._boxes[name].ask(lambda link: question(name, link))
            except EngineError as error:
                failed[name] = error

        names = list(names)
        await asyncio.gather(*map(ask, names))
        return {name: said[name] for name in names if name in said}, failed

    async def _of_all(
        self, concerns: Callable[[Snapshot], bool], question: Callable[[NodeLink], Coroutine[Any, Any, _T]]
    ) -> dict[BoxName, _T]:
        """What all boxes answer that are ready and that it concerns. Raises EngineError, saying who did it all the same."""
        names = [name for name in self._sight.known.ready if (told := self._boxes[name].snapshot) and concerns(told)]
        said, failed = await self._ask(names, lambda _name, link: question(link))
        if failed:
            done = f" (done on {', '.join(said)})" if said else ""
            words = "; ".join(f"{name}: {error}" for name, error in failed.items())
            raise EngineError(f"{words}{done}")
        await asyncio.gather(*(self._boxes[name].catch_up() for name in said))
        return said

    def _number(self, place: int, theirs: int) -> int:
        """One that no other request has: a box's own, with the box's place in it; 0 is the service's."""
        return theirs * (len(self._boxes) + 1) + place


def _listed(name: BoxName, one: RequestUnderWay, number: int) -> RequestUnderWay:
    """A request of a box; where it has no device yet, who asks says which box it waits for."""
    one = on(name, replace(one, number=number))
    if one.device is not None:
        return one
    asker = one.asker
    if asker.key:
        return replace(one, asker=replace(asker, key=f"{name}: {asker.key}"))
    if asker.user:
        return replace(one, asker=replace(asker, process=f"{name}: {asker.process}"))
    return replace(one, asker=replace(asker, address=f"{name} {asker.address}".strip()))


def news_interval_s(snapshot: Snapshot) -> float:
    """Seconds between this snapshot and the next: the larger it is, the longer, within a second."""
    state = snapshot.state
    size_bytes = _BYTES_AN_ITEM * (len(state.devices) + len(state.models) + len(state.residents))
    return min(max(NEWS_INTERVAL_S, size_bytes / _NEWS_BYTES_PER_S), _LONGEST_INTERVAL_S)
