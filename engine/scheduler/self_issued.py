"""What the engine commands of its own accord: loads that requests call for, returns to a GPU, and what deaths, short runs and
damaged slabs make necessary. Each is a submission like anybody else's."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Final, Literal

from engine.core.commands import OWN_IDS, Batch, Command, Evict, LeaveCpu, Load, Origin, SetPin, Submission
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.copying import may_pay, pays
from engine.core.planning.eviction import worth_promoting
from engine.core.planning.idleness import idle_too_long, yielding
from engine.core.planning.planner import plan
from engine.core.plans import Plan
from engine.core.records import Notice
from engine.scheduler.board import Board
from engine.scheduler.commands import Commands
from engine.scheduler.effects import Write
from engine.scheduler.jobs import Job
from engine.scheduler.leases import Leases
from engine.scheduler.switch import policy_for

WEIGHED_AGAIN_S: Final = 0.5
"""So much later at the earliest it is asked again whether one more copy of a model pays."""
YIELD_AFTER_S: Final = 3.0
"""Memory that others take and give back sooner moves nobody."""


class SelfIssued:
    """At most one command for one purpose is under way."""

    def __init__(self, board: Board, commands: Commands, leases: Leases) -> None:
        self._board = board
        self._commands = commands
        self._leases = leases
        self._submitted = 0
        self._weighed_s: dict[ModelName, float] = {}
        """When it was last asked of each model whether a copy pays, on the steady clock."""
        self._short_since_s: dict[DeviceId, float] = {}
        """On the steady clock: since when others have left less of a device than its models stand on."""

    def bring(self, model: ModelName) -> None:
        """A request needs the model: load it, unless that is under way or forbidden."""
        if not self._board.policy.dynamic_loading:
            self._leases.deny(model, f"{model} is not ready and DYNAMIC_LOADING_ENABLED is off; load it first")
        elif not self._commands.is_under_way(Load(model)):
            self._submit("request", Load(model))

    def take_back(self, model: ModelName) -> None:
        """Nobody waits for the model any more. Its load is given up while it still waits for room, for its weights or for
        victims' leases: nothing has been lost by then. One that has begun goes on: its victims have left, and whoever gave up may
        well ask again."""
        for job in self._commands.jobs:
            own = job.submission.origin == "request" and job.submission.command == Load(model)
            # In `queue` it claims nothing yet: a load of the model that is under way is another's, and goes on without it. With
            # victims behind it, it waits anew: a device has refused the room that they made.
            claimed = any(r.stage in ("pending", "loading") for r in self._board.state.of(model))
            phase = job.clock.phase
            waits = (phase == "queue" or (phase in ("prepare", "read") and not claimed)) and not job.evicted
            may_end = phase == "drain" or waits
            if own and may_end:
                job.withdrawn = f"nobody waits for {model} any more"

    def bring_back(self, model: ModelName) -> None:
        """A request is for a model that fell back to the CPU, which answers it: let it return to a GPU, if one would take it."""
        board, command = self._board, LeaveCpu(model)
        fell_back = [r.device for r in board.state.of(model)] == [CPU] and board.state.models[model].pin is None
        if not fell_back or self._commands.is_under_way(command) or not board.policy.dynamic_loading:
            return
        policy = policy_for("request", board.policy)
        found = plan(board.state, command, policy, board.now.wall_s)
        if isinstance(found, Plan) and worth_promoting(board.situation, found):
            self._submit("return", command)

    def bring_more(self, model: ModelName) -> None:
        """A request is for a model that is ready: have one more copy of it where that is expected to save more waiting than it
        costs. One at a time, and only while nothing else is under way."""
        board = self._board
        may = board.policy.copies and board.policy.dynamic_loading and not board.is_quiet
        # A busy model has thousands of requests a second, and what a copy of it is worth hardly changes meanwhile.
        again_s = self._weighed_s.get(model, -inf) + WEIGHED_AGAIN_S
        if not may or self._commands.jobs or board.now.mono_s < again_s:
            return
        self._weighed_s[model] = board.now.mono_s
        if not may_pay(board.state, model):
            return
        command = Load(model, also=True)
        found = plan(board.state, command, policy_for("queue", board.policy), board.now.wall_s)
        if isinstance(found, Plan) and pays(board.state, found):
            self._submit("copy", command, "queue", found.effects)

    def restore(self, lost: Iterable[Load]) -> None:
        """Have these where they were."""
        for load in lost:
            if load.model in self._board.state.models:  # else it was taken out of the catalog since
                self._submit("restore", load, "restore")

    def place_anew(self, model: ModelName, device: DeviceId) -> None:
        """Take a model that needs more than it was charged off the device: loaded again, it finds a victim, another device or
        the CPU. A pinned model stays; its request fails with the figures."""
        state = self._board.state
        if (here := state.find(model, device)) and not state.is_pinned(here):
            self._submit("short", Evict(model, device if state.beside(model, device) else None))

    def take_off(self, models: Iterable[ModelName]) -> None:
        """Whoever runs on damaged bytes leaves once its leases have ended; requests wait for it to come anew."""
        for model in models:
            command = self._off(model)
            if not self._commands.is_under_way(command) and (job := self._submit("damaged", command)):
                job.insists = True  # no request may rescue it: each would be answered with the damaged bytes

    def let_idle_go(self) -> None:
        """Whoever has been idle for as long as it may be leaves, and so does, where others have taken a card's memory, whoever is
        idle and cheapest to lose."""
        board = self._board
        for resident in idle_too_long(board.state, board.now.wall_s):
            self._let_go(
                resident.model, resident.device, f"{resident.model} was idle on {resident.device} and leaves it"
            )
        for device in board.state.devices if board.policy.yield_to_others else ():
            if not (models := yielding(board.situation, device)):
                self._short_since_s.pop(device, None)
            elif board.now.mono_s - self._short_since_s.setdefault(device, board.now.mono_s) >= YIELD_AFTER_S:
                for model in models:
                    self._let_go(
                        model, device, f"others have taken memory of {device}; {model}, which is idle, leaves it"
                    )

    def _let_go(self, model: ModelName, device: DeviceId, why: str) -> None:
        command = Evict(model, device)
        if not self._commands.is_under_way(command):
            self._board.emit(Write(Notice(self._board.now.wall_s, "info", why)))
            self._submit("idle", command)

    def _off(self, model: ModelName) -> Command:
        """Evict the model and keep its pin: nobody has taken it back, and the model is to come anew."""
        pin = self._board.state.models[model].pin
        if pin is None:
            return Evict(model)
        return Batch(f"take {model} off damaged bytes, keep its pin", (Evict(model), SetPin(model, pin.device)))

    def _submit(
        self,
        purpose: Literal["request", "return", "copy", "restore", "short", "damaged", "idle"],
        command: Command,
        origin: Origin = "request",
        confirmed: str | None = None,
    ) -> Job | None:
        self._submitted += 1
        return self._commands.submit(Submission(f"{OWN_IDS}{purpose}-{self._submitted}", command, origin, confirmed))
