"""What a trace and a table of sizes may look like, and what is said of those that don't."""

from __future__ import annotations

import pytest

from engine.recording.trace import TraceError, TraceRequest, read_trace, without_repeats
from engine.replay.box import CYCLE_BYTES, GB, Box, cycled_sizes, parse_bytes, read_sizes, starting_state
from engine.replay.generated import demand
from tests.recording.trace_files import written


def test_a_trace_reads_as_it_was_written() -> None:
    requests = demand(5, 1.0, 1.0, seed=1, requests=40)

    read = read_trace(written(requests).splitlines())

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


def test_sizes_are_given_in_turn_by_name() -> None:
    sizes = cycled_sizes(f"m{rank:02}" for rank in range(10))

    assert (sizes["m00"], sizes["m07"], sizes["m08"]) == (CYCLE_BYTES[0], CYCLE_BYTES[7], CYCLE_BYTES[0])


def test_sizes_are_read_from_a_file_in_decimal_and_binary_units() -> None:
    assert read_sizes(["model,size", "a,1.5GB", "", "b, 2GiB", "other,1GB"], {"b", "a"}) == {
        "a": 1.5 * GB,
        "b": 2 << 30,
    }


def test_a_bad_size_is_refused_with_its_line_and_a_missing_one_by_name() -> None:
    with pytest.raises(TraceError, match=r"line 2: 'big' is not a size; write a number and a unit, such as 4\.8GB"):
        read_sizes(["a,1GB", "b,big"], {"a", "b"})
    with pytest.raises(TraceError, match="line 1: a has no bytes"):
        read_sizes(["a,0GB"], {"a"})
    with pytest.raises(TraceError, match="no size is given for b, c"):
        read_sizes(["a,1GB"], {"a", "b", "c"})


def test_a_size_without_a_unit_is_no_size() -> None:
    with pytest.raises(ValueError, match="'4800' is not a size"):
        parse_bytes("4800")


def test_a_model_that_no_gpu_can_hold_is_refused() -> None:
    with pytest.raises(TraceError, match=r"big takes 5\.00 GB and the largest GPU of the box 4\.80 GB"):
        starting_state(Box(), {"big": 5 * GB})
