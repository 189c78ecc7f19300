"""Requests that are measured as their client sees them: cold, one at a time, several at once; and two such runs compared."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncGenerator

import pytest

from engine.api import CannotServe, EngineError
from engine.bench.request_compare import compare_requests
from engine.bench.request_records import (
    RequestOmission,
    RequestSeries,
    RequestsResult,
    RequestSubject,
    write_requests_csv,
)
from engine.bench.requests import RequestBench, RequestMix, RequestProgress, measure_requests, timed
from engine.core.commands import Evict, Load, Submission
from engine.core.state import Resident
from engine.core.tasks import Embed, Generate, RunEvent, RunResult, Task, TextPart
from tests.bench.runs import request_series, requests_run
from tests.scripted_engine import ScriptedEngine

MINILM, PHI = "all-MiniLM-L6-v2", "phi-3-mini"
MIX = RequestMix(rounds=3, warm_up=1, at_once=4, most_tokens=5)


class Watching:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.found: list[RequestSeries | RequestOmission] = []
        self.turns: list[str] = []
        self.quiet_s: float | None = None
        self.troubles: list[str] = []

    def quietened(self, sample_s: float) -> None:
        self.quiet_s = sample_s

    def progress(self, now: RequestProgress) -> None:
        self.turns.append(now.turn)

    def measured(self, found: RequestSeries | RequestOmission) -> None:
        self.found.append(found)

    def putting_back(self) -> None: ...

    def not_put_back(self, what: str) -> None:
        self.troubles.append(what)


class Counting(ScriptedEngine):
    """Counts how many requests are under way at once, and lets others begin before each ends."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = 0
        self.most_at_once = 0
        self.was_quiet: list[bool] = []

    async def run(self, model: str, task: Task) -> AsyncGenerator[RunEvent, None]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.was_quiet.append(self.quiet)
        await asyncio.sleep(0)
        async for event in super().run(model, task):
            if isinstance(event, RunResult):
                self.at_once -= 1
            yield event


async def measured(engine: ScriptedEngine, *models: str, agreed: tuple[Resident, ...] = ()) -> Watching:
    watching = Watching()
    await measure_requests(engine, (await engine.snapshot()).state, models, agreed, MIX, watching)
    return watching


async def test_what_is_sent_is_what_the_mix_says() -> None:
    engine = Counting()
    watching = await measured(engine, MINILM, PHI)

    found = [series for series in watching.found if isinstance(series, RequestSeries)]
    assert [(s.subject.model, s.subject.sent, s.subject.at_once, s.subject.cold, len(s.answers)) for s in found] == [
        (MINILM, "alone", 1, True, 3),
        (MINILM, "alone", 1, False, 3),
        (MINILM, "together", 4, False, 12),
        (PHI, "alone", 1, True, 3),
        (PHI, "alone", 1, False, 3),
        (PHI, "together", 4, False, 12),
    ]
    assert engine.most_at_once == 4
    assert [s.synthetic for s in found] == [False] * 3 + [True] * 3
    assert [task.work for task in engine.asked if isinstance(task, Embed)] == [1] * (4 + 4 + 16)
    assert {task.max_tokens for task in engine.asked if isinstance(task, Generate)} == {5}
    assert len({str(task) for task in engine.asked}) == len(engine.asked)  # no cache could answer twice


async def test_a_cold_request_finds_its_model_on_no_device_and_a_warm_one_does_not_load() -> None:
    engine = ScriptedEngine()
    await measured(engine, MINILM)
    loads = [s for s in engine.submissions if isinstance(s.command, Load)]
    assert [s.origin for s in loads] == ["trial", *["request"] * 3]  # the first one does not count
    assert sum(isinstance(s.command, Evict) for s in engine.submissions) == 4


async def test_the_engine_keeps_quiet_and_everything_is_where_it_was_afterwards() -> None:
    engine = Counting()
    await engine.submit(Submission("1", Load(PHI, "gpu1")))
    before = engine.state.residents
    watching = await measured(engine, MINILM, PHI, agreed=before)
    assert watching.quiet_s == 10
    assert all(engine.was_quiet)
    assert not engine.quiet
    assert watching.troubles == []
    assert [(r.model, r.device) for r in engine.state.residents] == [(PHI, "gpu1")]


async def test_whoever_ends_it_finds_everything_back_in_its_place() -> None:
    engine = Counting()
    await engine.submit(Submission("1", Load(PHI, "gpu1")))
    before = engine.state
    watching = Watching()
    engine.hold()  # the first load never ends
    measuring = asyncio.create_task(measure_requests(engine, before, (MINILM,), before.residents, MIX, watching))
    await engine.until(lambda: bool(engine.jobs))
    measuring.cancel()
    engine.release()
    with pytest.raises(asyncio.CancelledError):
        await measuring
    assert not engine.quiet
    assert watching.found == []
    assert [(r.model, r.device) for r in engine.state.residents] == [(PHI, "gpu1")]


async def test_a_model_that_can_not_come_without_others_leaving_is_left_out_with_the_reason() -> None:
    engine = ScriptedEngine()
    for number, device in enumerate(("gpu0", "gpu1")):
        await engine.submit(Submission(str(number), Load((PHI, "bge-base")[number], device)))
    bench = RequestBench(engine, MIX, {"e5-small"}, lambda _now: None)
    found = await bench.measure(RequestSubject("e5-small", "alone", cold=True))
    assert isinstance(found, RequestOmission)
    assert "would have to leave for it, which nobody agreed to" in found.reason
    assert len(engine.state.residents) == 2


async def test_requests_that_fail_leave_their_subject_out_and_the_others_of_the_round_are_given_up() -> None:
    class Failing(ScriptedEngine):
        closed = 0

        async def run(self, model: str, task: Task) -> AsyncGenerator[RunEvent, None]:
            self.asked.append(task)
            if len(self.asked) == 2:
                raise CannotServe("its worker was killed")
            try:
                await asyncio.Event().wait()
                yield TextPart(0, "")
            finally:
                self.closed += 1

    engine = Failing()
    bench = RequestBench(engine, RequestMix(1, 0, 3, 5), set(), lambda _now: None)
    found = await bench.measure(RequestSubject(MINILM, "together", 3))
    assert isinstance(found, RequestOmission)
    assert found.reason == "its worker was killed"
    assert engine.closed == 2


async def test_times_are_those_of_the_parts_as_they_came() -> None:
    times = await timed(ScriptedEngine(), PHI, Generate("a", 4))
    assert times.work == 4
    assert len(times.gaps_s) == 3
    assert 0 < times.first_part_s <= times.first_part_s + sum(times.gaps_s) <= times.answer_s

    whole = await timed(ScriptedEngine(), MINILM, Embed(("a", "b")))
    assert (whole.work, whole.gaps_s, whole.mean_gap_s) == (2, (), None)
    assert whole.first_part_s == whole.answer_s


async def test_a_run_without_a_result_is_an_error() -> None:
    class Silent(ScriptedEngine):
        async def run(self, model: str, task: Task) -> AsyncGenerator[RunEvent, None]:
            yield TextPart(0, "a")

    with pytest.raises(EngineError, match="ended without a result"):
        await timed(Silent(), PHI, Generate("a", 1))


def test_the_rate_is_of_all_the_work_in_the_time_that_it_took() -> None:
    assert request_series("m", [1.0] * 8, gap_s=0.1, at_once=4).per_s == 8 * 4 / 2.0


def test_the_csv_has_a_row_a_request() -> None:
    text = io.StringIO()
    write_requests_csv(text, [request_series("m", [1.0, 1.2], gap_s=0.25), request_series("n", [0.5])])
    rows = list(csv.DictReader(text.getvalue().splitlines()))
    assert [(row["model"], row["request"], row["answer_s"]) for row in rows] == [
        ("m", "1", "1.0"),
        ("m", "2", "1.2"),
        ("n", "1", "0.5"),
    ]
    assert [row["between_parts_p99_s"] for row in rows] == ["0.25", "0.25", ""]
    assert [(row["work"], row["unit"]) for row in rows] == [("4", "tokens")] * 2 + [("1", "rows")]


def test_every_time_of_a_subject_is_compared_with_itself() -> None:
    before = requests_run(request_series("m", [1.0, 1.01, 0.99], gap_s=0.1), request_series("n", [0.5] * 3))
    after = requests_run(request_series("m", [2.0, 2.01, 1.99], gap_s=0.1), request_series("n", [0.5] * 3))
    found = {(c.subject.model, c.time): c for c in compare_requests(before, after).comparisons}
    assert set(found) == {("m", "answer"), ("m", "first part"), ("m", "part"), ("m", "token"), ("n", "answer")}
    assert found["m", "answer"].change.share == pytest.approx(1.0)
    assert found["m", "answer"].change.is_worse_than(0.1)
    assert not found["m", "part"].change.is_worse_than(0.1)
    assert (found["n", "answer"].before_s, found["n", "answer"].after_s) == (0.5, 0.5)


def test_the_work_of_rounds_is_compared_where_there_are_enough_of_them() -> None:
    before = requests_run(request_series("m", [1.0] * 12, at_once=4), request_series("n", [1.0] * 8, at_once=4))
    after = requests_run(request_series("m", [3.0] * 12, at_once=4), request_series("n", [3.0] * 8, at_once=4))
    found = {(c.subject.model, c.time): c for c in compare_requests(before, after).comparisons}
    assert set(found) == {("m", "answer"), ("m", "row"), ("n", "answer")}
    assert (found["m", "row"].before_s, found["m", "row"].after_s) == (0.25, 0.75)


def test_cold_requests_are_not_compared_with_warm_ones() -> None:
    before, after = (requests_run(request_series("m", [1.0], cold=cold)) for cold in (True, False))
    compared = compare_requests(before, after)
    assert compared.comparisons == ()
    assert [s.subject.cold for s in (*compared.only_before, *compared.only_after)] == [True, False]


def test_another_mix_and_another_machine_are_said() -> None:
    def run(mix: str) -> RequestsResult:
        return requests_run(request_series("m", [1.0]), mix=mix)

    assert compare_requests(run("8 at once"), run("4 at once")).differences == (
        "what was sent: 8 at once before, 4 at once after",
    )
