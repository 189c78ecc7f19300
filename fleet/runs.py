"""Requests: which box each goes to, what is done that it finds its model there, and where it goes when that box is gone.

A model that is ready nowhere is put out to bid: a few boxes plan the load, and the cheapest is told to do what it said. Requests
that come meanwhile wait for that one load. Where nobody bids, the likeliest box is simply sent the request: its engine waits for
room, falls back to the CPU or refuses by its own rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from random import Random
from typing import Final

from engine.api import ASKER, BadRequest, Changed, Done, EngineError, EngineUnreachable, Overloaded, RunStopped
from engine.core.commands import Load, Submission
from engine.core.insight.request_figures import RequestUnderWay
from engine.core.names import BoxName, ModelName
from engine.core.plans import Plan
from engine.core.tasks import KIND_OF, RunEvent, RunResult, Task
from fleet.bids import Asked, plans_of, refusals
from fleet.boxes import Box
from fleet.core.choose import Ask, Bid, cheapest, choose, enough, submission_id
from fleet.following import Following
from fleet.naming import on, words_on
from fleet.slabs import Slabs

_NOBODY: Final = frozenset[BoxName]()


class _Held:
    """A request that has no box yet."""

    def __init__(self, number: int, model: ModelName, task: Task, since_s: float) -> None:
        self.number: Final = number
        self.model: Final = model
        self.task: Final = task
        self.asker: Final = ASKER.get()
        self.since_s: Final = since_s
        self.stopped: Final = asyncio.get_running_loop().create_future()

    def told(self, now_s: float) -> RequestUnderWay:
        return RequestUnderWay(
            self.number, self.asker, self.model, KIND_OF[type(self.task)], self.task.work, now_s - self.since_s
        )


class FleetRuns:
    """Requests that go through this service."""

    def __init__(
        self,
        following: Following,
        slabs: Slabs,
        monotonic: Callable[[], float],
        random: Random,
        on_end: Callable[[], None],
    ) -> None:
        """`on_end` is called whenever a request has ended."""
        self._following: Final = following
        self._boxes: Final = following.boxes
        self._sight: Final = following.sight
        self._slabs: Final = slabs
        self._monotonic: Final = monotonic
        self._random: Final = random
        self._on_end: Final = on_end
        self._loading: Final[dict[ModelName, asyncio.Task[BoxName]]] = {}
        self._held: Final[dict[int, _Held]] = {}
        self._numbers = 0
        self.count = 0
        """Requests that have not ended."""

    def held(self) -> list[RequestUnderWay]:
        """Requests that have no box yet, the oldest first."""
        return [one.told(self._monotonic()) for one in self._held.values()]

    def stop_held(self, number: int) -> RequestUnderWay:
        """Give one of them up. Raises BadRequest."""
        one = self._held.get(number)
        if one is None or one.stopped.done():
            raise BadRequest(f"no request that waits for a box has the number {number}")
        one.stopped.set_result(None)
        return one.told(self._monotonic())

    async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        """As `EngineAPI.run`, of a model that some box has. One that its box does not answer before the first part is sent to
        another, once; one that finds a full queue, to another box that has the model ready."""
        self.count += 1
        try:
            async with aclosing(self._tried(model, task)) as events:
                async for event in events:
                    yield event
        finally:
            self.count -= 1
            self._on_end()

    async def _tried(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        without, has_retried, full = _NOBODY, False, None
        while True:
            try:
                box = await self._placed(model, task, without, full)
            except EngineUnreachable:
                if full is not None:
                    raise full from None
                raise
            has_begun = False
            try:
                async with aclosing(box.link().run(model, task)) as events:
                    first = await box.until_lost(anext(events))
                    has_begun = True
                    yield await _told(box, first)
                    async for event in events:
                        yield await _told(box, event)
                return
            except EngineUnreachable as error:
                if has_begun or has_retried:
                    raise EngineUnreachable(f"{box.name} went while {model} ran there: {error}") from error
                has_retried = True
            except Overloaded as error:
                if has_begun:
                    raise
                full = error if full is None or error.retry_after_s < full.retry_after_s else full
            except EngineError as error:
                error.args = (words_on(box.name, str(error)),)
                raise
            without |= {box.name}

    # ── a box for it ─────────────────────────────────────────────────────────────────────────────

    async def _placed(self, model: ModelName, task: Task, without: frozenset[BoxName], full: Overloaded | None) -> Box:
        """The box to send it to. Raises RunStopped, EngineUnreachable, and `full` where no other copy is ready."""
        choice = choose(self._sight.view, model, self._random, self._monotonic(), without)
        if isinstance(choice, Ask) and not self._following.has_met:  # it may be ready on a box that is yet to answer
            await self._following.met()
            choice = choose(self._sight.view, model, self._random, self._monotonic(), without)
        if isinstance(choice, Ask):
            if full is not None:
                raise full
            return self._boxes[await self._waited_for(model, task, choice, without)]
        self._sight.view.sent(choice.box, model, choice.device, self._monotonic())
        return self._boxes[choice.box]

    async def _waited_for(self, model: ModelName, task: Task, ask: Ask, without: frozenset[BoxName]) -> BoxName:
        """Where the model is loaded; all who want that wait for one load."""
        loading = self._loading.get(model)
        if loading is None:
            loading = asyncio.create_task(self._load(model, ask, without), name=f"a box for {model}")
            self._loading[model] = loading
            loading.add_done_callback(lambda _ended: self._loading.pop(model, None))
        self._numbers += 1
        held = self._held[self._numbers] = _Held(self._numbers, model, task, self._monotonic())
        try:
            await asyncio.wait({loading, held.stopped}, return_when=asyncio.FIRST_COMPLETED)
            if held.stopped.done():
                raise RunStopped(f"the operator ended the request for {model} before it had a box")
            return loading.result()
        finally:
            del self._held[held.number]

    async def _load(self, model: ModelName, ask: Ask, without: frozenset[BoxName]) -> BoxName:
        """A box that has it ready, or that is left to see to that itself. Raises EngineUnreachable."""
        asked: Asked = {}
        bids: list[Bid] = []
        command = Load(model, also=ask.instead is not None)
        for round_ in ask.rounds:
            asked |= await plans_of(self._boxes, round_, command)
            bids = [self._slabs.bid(name, plan) for name, plan in asked.items() if isinstance(plan, Plan)]
            if any(map(enough, bids)):
                break
        for bid in cheapest(bids, ask):
            if bid.device is None or await self._is_done(bid, command):
                return bid.box
        if ask.instead is not None:
            return ask.instead.box
        for name in (
            *(name for name, found in asked.items() if not isinstance(found, str)),
            *self._sight.having(model),
        ):
            if name not in without and self._boxes[name].is_open:
                return name
        raise EngineUnreachable(self._why_nowhere(model, asked))

    async def _is_done(self, bid: Bid, command: Load) -> bool:
        """Whether the box has done what it bid, or found it done."""
        view, model = self._sight.view, command.model
        submission = Submission(submission_id(view, model), command, "request", bid.effects)
        try:
            await self._slabs.bring(model, bid.box, submission)
            answer = await self._boxes[bid.box].ask(lambda link: link.submit(submission))
            await self._boxes[bid.box].catch_up()
        except EngineError:
            return False
        finally:
            view.ended(model)
        if isinstance(answer, Changed):
            return answer.plan.load is None
        return isinstance(answer, Done)

    def _why_nowhere(self, model: ModelName, asked: Asked) -> str:
        away = [f"{name} is {box.standing}" for name, box in self._boxes.items() if box.standing != "ready"]
        drained = [f"{name} is drained" for name, box in self._boxes.items() if box.drained and box.standing == "ready"]
        said = "; ".join(filter(None, (refusals(asked), *away, *drained)))
        return f"no box can take a request for {model} now ({said or 'none that answers has it'}); try again shortly"


async def _told(box: Box, event: RunEvent) -> RunEvent:
    """What it said, in the fleet's names; a result of a copy that nobody knew of yet is told once that is known."""
    if isinstance(event, RunResult) and box.snapshot and box.snapshot.state.find(event.model, event.device) is None:
        await box.catch_up()
    return on(box.name, event)
