"""The way of a command from key to outcome, with an operator who answers as told."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from msgspec.structs import replace

from citadel_tui.flow import StatusMessage, Wanted, carry_out, fulfil
from engine.api import Answer, Cancelled, Changed, Done
from engine.core.commands import Command, Evict, Load, Move, SetPin, Submission
from engine.core.plans import LoadStep, Plan, Refusal
from engine.core.prediction import Prediction
from engine.core.proposals import Proposal, Rebalance
from engine.core.sizes import MIB
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import busy_engine


class Answering:
    """An operator who gives these answers to the questions, in order."""

    def __init__(self, *answers: Command | Wanted | None) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[Plan, bool]] = []
        self.refusals: list[Refusal] = []
        self.messages: list[StatusMessage] = []
        self.asked_for: list[str] = []

    async def confirm(self, plan: Plan, wanted: Wanted, *, changed: bool) -> Wanted | None:
        self.asked.append((plan, changed))
        return self._next()

    async def agree(self, proposal: Proposal) -> Wanted | None:
        return self._next()

    async def read(self, refusal: Refusal) -> Wanted | None:
        self.refusals.append(refusal)
        return self._next() if self._answers else None

    def _next(self) -> Wanted | None:
        answer = self._answers.pop(0)
        return answer if isinstance(answer, Wanted | None) else Wanted(answer)

    def say(self, message: StatusMessage) -> None:
        self.messages.append(message)

    def asking(self, what: str) -> AbstractContextManager[None]:
        self.asked_for.append(what)
        return nullcontext()


class Wavering(ScriptedEngine):
    """Finds once, at the submission, that the plan has changed."""

    wavered = False

    async def submit(self, submission: Submission) -> Answer:
        if self.wavered:
            return await super().submit(submission)
        self.wavered = True
        step = LoadStep("e5-small", "gpu0", 141 * MIB, "disk", Prediction(1.0, 2.0))
        return Changed(Plan(submission.command, (step,), ("the RAM tier let it go",)))


class Rescued(ScriptedEngine):
    async def submit(self, submission: Submission) -> Answer:
        return Cancelled("a request rescued its victim")


async def test_what_touches_nothing_else_runs_at_once() -> None:
    engine, operator = ScriptedEngine(), Answering()
    await carry_out(Load("e5-small"), engine, operator)
    assert operator.asked == []
    assert operator.messages == [StatusMessage("load e5-small: done in 0.20 s", "good")]
    assert (await engine.snapshot()).state.find("e5-small", "gpu0")


async def test_each_question_to_the_engine_is_said_before_its_answer_is_there() -> None:
    operator = Answering()
    await carry_out(Load("e5-small"), ScriptedEngine(), operator)
    await fulfil(Rebalance(), ScriptedEngine(), operator)
    assert operator.asked_for == ["load e5-small", "load e5-small", "rebalance"]


async def test_a_side_effect_is_confirmed_and_the_confirmed_effects_are_what_is_submitted() -> None:
    engine = await busy_engine()
    command = Load("bge-base", "gpu0")
    operator = Answering(command)
    await carry_out(command, engine, operator)
    assert engine.submissions[-1].confirmed == "evict phi-3-mini from gpu0; load bge-base on gpu0"
    assert not (await engine.snapshot()).state.of("phi-3-mini")


async def test_nothing_happens_without_the_operators_word() -> None:
    engine = await busy_engine()
    before = await engine.snapshot()
    await carry_out(Load("bge-base", "gpu0"), engine, Answering(None))
    assert await engine.snapshot() == before


async def test_an_alternative_is_planned_before_it_is_done() -> None:
    engine = await busy_engine()
    other = Load("bge-base", "cpu")
    operator = Answering(other)
    await carry_out(Load("bge-base", "gpu0"), engine, operator)
    assert len(operator.asked) == 1
    assert (await engine.snapshot()).state.find("bge-base", "cpu")
    assert (await engine.snapshot()).state.find("phi-3-mini", "gpu0")


async def test_a_plan_that_changed_is_shown_again_even_when_it_has_no_side_effect() -> None:
    engine = Wavering()
    operator = Answering(Load("e5-small"))
    await carry_out(Load("e5-small"), engine, operator)
    assert [changed for _, changed in operator.asked] == [True]


async def test_a_refusal_is_read() -> None:
    engine = await busy_engine()
    await engine.submit(Submission("pin", SetPin("phi-3-mini")))
    operator = Answering()
    await carry_out(Load("bge-base", "gpu0"), engine, operator)
    assert [r.reason for r in operator.refusals] == ["no room for bge-base on gpu0"]


async def test_a_plan_without_steps_is_one_line_and_submitted_since_what_leaves_stays_only_then() -> None:
    engine, operator = ScriptedEngine(), Answering()
    await carry_out(Evict("bge-base"), engine, operator)
    assert [submission.command for submission in engine.submissions] == [Evict("bge-base")]
    assert operator.messages == [StatusMessage("evict bge-base: nothing to do; nothing to do")]


async def test_a_proposal_without_steps_is_one_line_with_its_reason() -> None:
    operator = Answering()
    await fulfil(Rebalance(), ScriptedEngine(), operator)
    why = "every model is where it serves the present demand best"
    assert operator.messages == [StatusMessage(f"rebalance: nothing to do; {why}")]


async def test_a_failure_says_what_failed_and_that_nothing_else_changed() -> None:
    engine, operator = ScriptedEngine(), Answering()
    engine.fail_next("out of memory on gpu0")
    await carry_out(Load("e5-small"), engine, operator)
    assert operator.messages == [
        StatusMessage("load e5-small: failed, everything is as it was: out of memory on gpu0", "bad")
    ]


async def test_a_command_taken_back_says_why() -> None:
    operator = Answering(Move("e5-small", "cpu"))
    await carry_out(Load("e5-small"), Rescued(), operator)
    assert operator.messages == [StatusMessage("load e5-small: taken back: a request rescued its victim", "warn")]


def in_use(engine: ScriptedEngine, model: str) -> None:
    """A request runs on `model`."""
    residents = tuple(replace(r, leases=1) if r.model == model else r for r in engine.state.residents)
    engine.set_state(replace(engine.state, residents=residents))


async def test_runs_are_ended_only_after_a_preview_that_says_so() -> None:
    engine = await busy_engine()
    in_use(engine, "phi-3-mini")
    now = Wanted(Evict("phi-3-mini"), now=True)
    operator = Answering(now, now)
    await carry_out(Evict("phi-3-mini"), engine, operator)
    waits, ends = (plan for plan, _ in operator.asked)
    assert (waits.may_end_runs, ends.may_end_runs) == (True, False)
    assert engine.submissions[-1].now
    assert engine.submissions[-1].confirmed == ends.effects


async def test_a_refusal_for_runs_in_the_way_can_be_answered_with_their_end() -> None:
    engine = await busy_engine()
    in_use(engine, "phi-3-mini")
    now = Wanted(Load("bge-base", "gpu0"), now=True)
    operator = Answering(now, now)
    await carry_out(Load("bge-base", "gpu0"), engine, operator)
    assert [refusal.may_end_runs for refusal in operator.refusals] == [True]
    assert engine.submissions[-1].now
    assert engine.state.find("bge-base", "gpu0")


async def test_a_load_under_way_is_waited_for_and_its_end_is_told() -> None:
    class Joining(ScriptedEngine):
        joined = False

        async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
            return Plan(command, (), ("e5-small is being loaded on gpu0; that is waited for",), joins=True)

        async def submit(self, submission: Submission) -> Answer:
            self.joined = True
            return Done(Plan(submission.command, (), ("e5-small is already ready on gpu0",)))

    engine, operator = Joining(), Answering()
    await carry_out(Load("e5-small"), engine, operator)
    assert engine.joined
    assert [message.text for message in operator.messages] == [
        "load e5-small: waits; e5-small is being loaded on gpu0; that is waited for",
        "load e5-small: done",
    ]
