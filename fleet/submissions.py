"""Commands on their way to boxes, each done once however often it is sent.

An id belongs to the boxes that it was first sent to, and goes to no other. It is remembered while the service lives; a service
that has started since finds it in the boxes' jobs and journals, where the answer of an engine that has ended since is, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Set
from typing import Final, TypeAlias

from msgspec.structs import replace

from engine.api import Answer, BadRequest, Cancelled, Changed, Declined, Done, EngineUnreachable
from engine.core.commands import (
    Command,
    Evict,
    ForceCpu,
    LeaveCpu,
    Load,
    Move,
    Single,
    Submission,
    command_text,
    fault_of_submission,
    models_of,
    singles_of,
)
from engine.core.names import BoxName, ModelName
from engine.core.plans import EvictStep, Plan, Refusal
from engine.core.records import Switch
from engine.core.texts import in_brief
from fleet.answers import answer_of, command_of, merged_answer, merged_plan
from fleet.boxes import Box
from fleet.history import FleetHistory
from fleet.naming import effects_within
from fleet.routing import Part, Route
from fleet.slabs import Slabs

REMEMBERED: Final = 1000
"""Ids; an engine remembers as many."""

FindRoute: TypeAlias = Callable[[Command, str | None], Awaitable[Route | Refusal]]
"""Which boxes a command goes to that was sent nowhere yet, if possible so that it does what was confirmed."""


class _Sent:
    """What boxes are sent under one id."""

    def __init__(self, parts: Mapping[BoxName, Submission], begun: set[BoxName], *, in_order: bool) -> None:
        self.parts: Final = parts
        self.begun: Final = begun
        """Those that may have it already."""
        self.in_order: Final = in_order
        self.carrying: asyncio.Task[Answer] | None = None
        """Goes on when whoever sent it waits no more."""
        self.bringing: Final[set[asyncio.Task[None]]] = set()
        """Slabs on their way to boxes, before these are sent anything."""


class FleetSubmissions:
    """Sends commands to boxes, and remembers which."""

    def __init__(
        self, boxes: Mapping[BoxName, Box], history: FleetHistory, slabs: Slabs, find_route: FindRoute
    ) -> None:
        self._boxes: Final = boxes
        self._slabs: Final = slabs
        self._history: Final = history
        self._find_route: Final = find_route
        self._known: Final[dict[str, tuple[Submission, asyncio.Task[_Sent | Answer]]]] = {}

    async def submit(self, submission: Submission) -> Answer:
        """Raises BadRequest for one beyond a bound or under another's id, EngineUnreachable where nobody knows what it did."""
        if fault := fault_of_submission(submission):
            raise BadRequest(f"{fault}; nothing was done")
        before = self._known.get(submission.id)
        if before is None:
            placing = asyncio.create_task(self._placed(submission), name=f"placing {submission.id}")
            before = self._known[submission.id] = submission, placing
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
        elif before[0] != submission:
            raise BadRequest(_taken(submission.id, before[0].command))
        try:
            sent = await asyncio.shield(before[1])
        finally:
            if before[1].done() and (before[1].cancelled() or before[1].exception()):
                self._known.pop(submission.id, None)  # nothing was sent: it may be tried anew
        if not isinstance(sent, _Sent):
            return sent
        if sent.carrying is None or sent.carrying.done():
            sent.carrying = asyncio.create_task(
                self._carried_out(submission, sent), name=f"carrying {submission.id} out"
            )
            sent.carrying.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return await asyncio.shield(sent.carrying)

    async def cancel(self, submission_id: str) -> bool:
        """Take it back on each box that has it. Raises EngineUnreachable."""

        def has_it(box: Box) -> bool:
            return box.snapshot is not None and any(job.id == submission_id for job in box.snapshot.jobs)

        _, placing = self._known.get(submission_id, (None, None))
        sent = placing.result() if placing and placing.done() and not placing.cancelled() else None
        if isinstance(sent, _Sent) and sent.bringing:
            return any([bringing.cancel() for bringing in sent.bringing])
        names = sent.begun if isinstance(sent, _Sent) else {name for name, box in self._boxes.items() if has_it(box)}
        boxes = [self._boxes[name] for name in names if name in self._boxes]
        return any([await box.ask(lambda link: link.cancel(submission_id)) for box in boxes])

    async def plans(self, route: Route, *, now: bool) -> dict[BoxName, Plan | Refusal]:
        """What each box would do. Raises EngineUnreachable."""

        async def plan(part: Part) -> Plan | Refusal:
            planned = await self._boxes[part.box].ask(lambda link: link.plan(part.command, now=now))
            return self._slabs.told(part.box, planned) if isinstance(planned, Plan) else planned

        found = await asyncio.gather(*map(plan, route.parts))
        return dict(zip((part.box for part in route.parts), found, strict=True))

    # ── placing ──────────────────────────────────────────────────────────────────────────────────

    async def _placed(self, submission: Submission) -> _Sent | Answer:
        """What to send to whom, or the answer where nothing is to be sent."""
        under_way, ended = self._found_again(submission)
        begun = under_way.keys() | ended.keys()
        sent = _Sent(under_way | ended, set(begun), in_order=False)
        if begun and _stays_where_it_was(submission.command):
            return sent
        route = await self._find_route(submission.command, submission.confirmed)
        if isinstance(route, Refusal):  # of what was done already there may be nothing left to do
            return sent if begun else Declined(route)
        route = self._with_the_rest(route, submission, begun)
        confirmed: dict[BoxName, str | None] = dict.fromkeys((part.box for part in route.parts), None)
        if submission.confirmed is not None and len(confirmed) == 1 and begun <= confirmed.keys():
            confirmed = {name: effects_within(name, submission.confirmed) for name in confirmed}
        elif submission.confirmed is not None:
            plans = await self.plans(route, now=submission.now)
            together = merged_plan(submission.command, plans)
            if isinstance(together, Refusal):
                return Declined(together)
            if together.effects != submission.confirmed and not begun:
                return Changed(together)
            confirmed = {name: plan.effects for name, plan in plans.items() if isinstance(plan, Plan)}
        parts = {
            part.box: replace(submission, command=part.command, confirmed=confirmed[part.box]) for part in route.parts
        }
        return _Sent(parts | under_way | ended, set(begun), in_order=route.in_order)

    def _found_again(self, submission: Submission) -> tuple[dict[BoxName, Submission], dict[BoxName, Submission]]:
        """What a service that has gone since has sent under this id, as far as a box has it under way, and as far as one has
        written down its end. Raises BadRequest where it was another command."""
        under_way, ended = dict[BoxName, Submission](), dict[BoxName, Submission]()
        for name, box in self._boxes.items():
            for job in box.snapshot.jobs if box.snapshot is not None else ():
                if job.id == submission.id:
                    agreed = job.plan.effects if job.plan and submission.confirmed is not None else None
                    under_way[name] = replace(submission, command=job.command, confirmed=agreed)
        for name, entry in self._history.ended(submission.id).items():
            ended[name] = replace(submission, command=command_of(entry))
        for part in (*under_way.values(), *ended.values()):
            if not set(models_of(part.command)) <= set(models_of(submission.command)):
                raise BadRequest(_taken(submission.id, part.command))
        return under_way, ended

    def _with_the_rest(self, route: Route, submission: Submission, begun: Set[BoxName]) -> Route:
        """The route of a command that a service which has gone had sent to `begun`, with what it had yet to do: once a model is
        where it was to come, nothing but its age tells that a copy elsewhere was to leave for it."""
        if len(route.parts) != 1 or route.parts[0].box not in begun:
            return route
        name, single = route.parts[0].box, route.parts[0].command
        if not isinstance(single, Load | Move) or getattr(single, "also", False):
            return route
        came_s = self._came_to_the_box_s(name, submission.id, single.model)
        old = [
            Part(other, Evict(single.model))
            for other, box in self._boxes.items()
            if other != name and box.standing == "ready" and box.snapshot is not None
            if any(one.since_s < came_s for one in box.snapshot.state.of(single.model))
        ]
        return replace(route, parts=(*route.parts, *old), in_order=True)

    def _came_to_the_box_s(self, name: BoxName, submission_id: str, model: ModelName) -> float:
        """When the command came that has brought the model to the box, seconds since the epoch; 0 where it was there before."""
        entry, told = self._history.ended(submission_id).get(name), self._boxes[name].snapshot
        plan, came_s = entry.plan if isinstance(entry, Switch) else None, entry.at_s if entry is not None else 0.0
        for job in told.jobs if told is not None else ():
            if job.id == submission_id and told is not None:
                plan, came_s = job.plan, told.at_s - job.elapsed_s
        load = next((step for step in plan.loads if step.model == model), None) if plan is not None else None
        moves = plan is not None and any(isinstance(step, EvictStep) and step.model == model for step in plan.steps)
        return 0.0 if load is None or load.stays or moves else came_s

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    async def _carried_out(self, submission: Submission, sent: _Sent) -> Answer:
        answers: dict[BoxName, Answer] = {}
        if sent.in_order:
            for name in sent.parts:
                answers[name] = await self._send(name, sent)
                if not isinstance(answers[name], Done):
                    break
        else:
            said = await asyncio.gather(*(self._send(name, sent) for name in sent.parts), return_exceptions=True)
            for name, answer in zip(sent.parts, said, strict=True):
                if isinstance(answer, BaseException):
                    raise answer
                answers[name] = answer
        answer = merged_answer(submission.command, answers)
        if isinstance(answer, Changed) and len(sent.parts) > 1:
            # What has changed is the first part's plan alone, which is not what was asked for.
            route = await self._find_route(submission.command, None)
            if isinstance(route, Refusal):
                return Declined(route)
            plan = merged_plan(submission.command, await self.plans(route, now=submission.now))
            return Declined(plan) if isinstance(plan, Refusal) else Changed(plan)
        return answer

    async def _send(self, name: BoxName, sent: _Sent) -> Answer:
        """The answer of one box. Raises EngineUnreachable, saying what is known then."""
        part = sent.parts[name]
        if (entry := self._history.ended(part.id).get(name)) is not None:
            return answer_of(entry)
        box, what = self._boxes.get(name), in_brief(command_text(part.command), 60)
        if box is None:
            raise EngineUnreachable(f"{name}, which was to do '{what}', is no box of the fleet any more")
        if box.standing != "ready" and name not in sent.begun:
            raise EngineUnreachable(f"{name} is {box.standing}: {box.why}; it was not sent '{what}'")
        if name not in sent.begun and not await self._has_brought(name, sent):
            return Cancelled(f"'{what}' was taken back while {name} fetched what it needs; what came of that is kept")
        sent.begun.add(name)
        try:
            answer = await box.ask(lambda link: link.submit(part))
        except EngineUnreachable as error:
            raise EngineUnreachable(
                f"{name} does not answer, and what came of '{what}' there is unknown; ask again, under the same id, when {name}"
                f" is back: it is not done twice ({error})"
            ) from error
        await box.catch_up()
        return answer

    async def _has_brought(self, name: BoxName, sent: _Sent) -> bool:
        """Have what the box is to load fetched first, where that is worth it; whether nobody took the command back meanwhile.
        Raises EngineUnreachable."""
        for model in {one.model: one for one in singles_of(sent.parts[name].command) if _is_load(one)}:
            bringing = asyncio.create_task(
                self._slabs.bring(model, name, sent.parts[name]), name=f"bringing {model} to {name}"
            )
            sent.bringing.add(bringing)
            try:
                await asyncio.wait({bringing})
            finally:
                bringing.cancel()
                sent.bringing.discard(bringing)
            if bringing.cancelled():
                return False
            bringing.result()
        return True


def _is_load(single: Single) -> bool:
    return isinstance(single, Load | Move | ForceCpu | LeaveCpu)


def _stays_where_it_was(command: Command) -> bool:
    """Whether it goes to the box that takes it cheapest, so that nobody could tell by itself which that was."""
    return isinstance(command, Load | ForceCpu | LeaveCpu) and getattr(command, "device", None) is None


def _taken(submission_id: str, command: Command) -> str:
    return (
        f"the id {in_brief(submission_id)} was given to another command, {in_brief(command_text(command))}; nothing was done."
        " Send this one under an id of its own"
    )
