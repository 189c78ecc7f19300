"""What a play came to: requests that a model had to be loaded for, and the others."""

from __future__ import annotations

from engine.bench.request_records import RequestSubject, RequestTimes
from engine.core.commands import Load, Submission
from engine.core.records import Switch
from engine.drive.outcome import request_series
from engine.drive.play import Ended, Watch
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import START_S

MINILM = "all-MiniLM-L6-v2"


def ended(due_at_s: float, delay_s: float) -> Ended:
    return Ended(MINILM, due_at_s, delay_s, RequestTimes("gpu0", delay_s, delay_s, (), 2))


async def test_a_request_is_cold_when_a_load_of_its_model_ended_while_it_waited() -> None:
    engine = ScriptedEngine()
    await engine.submit(Submission("1", Load(MINILM)))
    watch = Watch(engine)
    watch.switches = [record.entry for record in await engine.records() if isinstance(record.entry, Switch)]
    came_s = watch.switches[0].at_s + watch.switches[0].total_s
    played = (ended(came_s - 0.5, 1.0), ended(came_s + 1.0, 0.1), ended(came_s + 2.0, 0.2))
    failed = Ended(MINILM, START_S, 1.0, failure="its worker was killed")

    cold, warm = sorted(request_series((*played, failed), watch, engine.state), key=lambda s: len(s.answers))
    assert cold.subject == RequestSubject(MINILM, "played", cold=True)
    assert warm.subject == RequestSubject(MINILM, "played")
    assert [answer.answer_s for answer in cold.answers] == [1.0]
    assert [answer.answer_s for answer in warm.answers] == [0.1, 0.2]
    assert not warm.synthetic
