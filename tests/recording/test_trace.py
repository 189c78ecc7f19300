"""What a trace may look like, and what is said of one that doesn't."""

from __future__ import annotations

import pytest

from engine.recording.trace import TraceError, TraceRequest, read_trace, without_repeats
from engine.replay.generated import demand
from tests.recording.trace_files import trace_text


def test_a_trace_reads_as_it_was_written() -> None:
    requests = demand(5, 1.0, 1.0, seed=1, requests=40)

    read = read_trace(trace_text(requests).splitlines())

    assert [r.model for r in read] == [r.model for r in requests]
    assert [r.at_s for r in read] == pytest.approx([r.at_s for r in requests], abs=0.001)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "line 1: the heading is ''"),
        (["time,model"], "line 1: the heading is 'time,model'; a trace begins with t_s,model,work"),
        (["t_s,model,work"], "no requests"),
        (["t_s,model,work", "1,a,1", "2,b"], "line 3: 2 fields where 3 belong: t_s,model,work"),
        (["t_s,model,work", "soon,a,1"], "line 2: t_s is 'soon', not a number of 0 or more"),
        (["t_s,model,work", "1,a,nan"], "line 2: work is 'nan'"),
        (["t_s,model,work", "-1,a,1"], "line 2: t_s is '-1'"),
        (["t_s,model,work", "1,\x1b[2J,1"], "is not a model's name"),
        (["t_s,model,work", "5,a,1", "", "4,a,1"], "line 4: t_s goes back from 5 to 4; sort the trace by time"),
    ],
)
def test_a_bad_line_is_refused_with_its_number_and_the_reason(lines: list[str], said: str) -> None:
    with pytest.raises(TraceError) as refused:
        read_trace(lines)

    assert said in str(refused.value)


def test_consecutive_requests_for_one_model_count_once() -> None:
    requests = [TraceRequest(float(at_s), model, 1.0) for at_s, model in enumerate("aabbba")]

    assert without_repeats(requests) == ("a", "b", "a")
