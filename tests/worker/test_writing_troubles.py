"""What happens to texts that are written together when nobody waits for one, memory lacks, or one of them can't go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LogitsProcessorList, PreTrainedModel, StoppingCriteriaList

from engine.core.models import Limits
from engine.core.tasks import Generate, TaskPart
from engine.weights.errors import BadCheckpoint
from engine.worker.errors import BadRequest, Left, OutOfMemory
from engine.worker.lanes import Turn
from engine.worker.running import HostRuns, Measurement
from engine.worker.shared_rows import Forward, Reading, SharedRows
from engine.worker.writing import Recipe, Writing
from engine.worker.writing_lane import Room
from tests.worker.decoders import Run
from tests.worker.writing_families import LIMITS, Steps, alone, ask_all, decoder, lane_of, tokens_of

pytestmark = pytest.mark.usefixtures("one_thread")

TOKENS = 12
PROMPTS = ("a cat that sat", "on it", "and some more words than that")


@pytest.fixture(scope="module")
def module() -> PreTrainedModel:
    return decoder("llama", {"num_hidden_layers": 2})


@pytest.fixture(scope="module")
def texts(module: PreTrainedModel) -> list[str]:
    return [alone(module, prompt, TOKENS) for prompt in PROMPTS]


def ask(number: int, tokens: int = TOKENS) -> Run:
    return Run(Generate(PROMPTS[number], tokens), number)


@contextmanager
def steps_of(module: PreTrainedModel) -> Iterator[Steps]:
    steps = Steps(module)
    yield steps
    steps.unhook()


# ── nobody waits any more ────────────────────────────────────────────────────────────────────────


def test_a_text_is_left_at_any_moment_and_the_others_are_whole(module: PreTrainedModel, texts: list[str]) -> None:
    ends: set[str] = set()
    with steps_of(module) as steps:
        for moment in range(1, 32, 2):
            lane, runs = lane_of(module, piece_tokens=4), [ask(n) for n in range(3)]
            steps.rows.clear()

            def happen(forward: int, runs: list[Run] = runs, lane: Any = lane, moment: int = moment) -> None:  # noqa: ANN401
                if forward == 0:
                    for run in runs[1:]:
                        lane.take(run.asked)
                if forward == moment:
                    lane.leave(1)
                    lane.leave(1)  # again: nothing more comes of it

            steps.before = happen
            lane.take(runs[0].asked)
            assert [runs[n].result.text for n in (0, 2)] == [texts[0], texts[2]], moment
            try:
                assert runs[1].result.text == texts[1]
                ends.add("whole")
            except Left:
                assert texts[1].startswith(runs[1].text)
                ends.add("begun" if runs[1].said else "unread")
            assert lane.held_bytes == 0
            lane.leave(1)
            assert len(runs[1].answers) == 1
            lane.close()
    assert ends == {"unread", "begun", "whole"}


def test_who_waits_leaves_at_once_and_the_next_one_is_not_held_up(module: PreTrainedModel, texts: list[str]) -> None:
    lane, runs = lane_of(module, Limits(1, 96)), [ask(n) for n in range(3)]
    seen: list[int] = []

    def happen(forward: int) -> None:
        if forward == 2:
            for run in runs[1:]:
                lane.take(run.asked)
            lane.leave(1)
            seen.append(len(runs[1].answers))  # while the first still writes

    with steps_of(module) as steps:
        steps.before = happen
        lane.take(runs[0].asked)
        assert [runs[n].result.text for n in (0, 2)] == [texts[0], texts[2]]
    with pytest.raises(Left):
        _ = runs[1].outcome
    assert seen == [1]
    lane.close()


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


class Collecting(HostRuns):
    """Counts how often unused memory was given back."""

    def __init__(self) -> None:
        self.collected = 0

    def collect(self) -> None:
        self.collected += 1


@pytest.mark.parametrize("layer", [0, 1])
def test_memory_that_lacks_once_changes_no_text(layer: int, module: PreTrainedModel, texts: list[str]) -> None:
    """In the middle of a forward, when some layers have the new tokens already."""
    memory = Collecting()
    lane, runs = lane_of(module, piece_tokens=4, memory=memory), [ask(n) for n in range(3)]
    calls = iter(range(1000))

    def starve(*_: object) -> None:
        if next(calls) % 3 == 0:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = module.get_submodule(f"model.layers.{layer}.mlp").register_forward_pre_hook(starve)
    ask_all(lane, runs)
    assert [run.result.text for run in runs] == texts
    assert memory.collected > 5
    hook.remove()
    lane.close()


class FewCopies(torch.overrides.TorchFunctionMode):
    """`torch.cat` finds memory so many times, and then once not."""

    def __init__(self, found: int) -> None:
        super().__init__()
        self.left = found

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        if function is torch.cat:
            self.left -= 1
            if self.left == -1:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return function(*args, **(kwargs or {}))


def read(forward: Forward, prompt: str) -> Reading:
    reading = Reading(forward, tokens_of(prompt))
    assert reading.read(1000)
    return reading


@pytest.mark.parametrize("found", range(4))
@torch.inference_mode()
def test_a_join_that_finds_no_memory_leaves_the_rows_as_they_were(found: int, module: PreTrainedModel) -> None:
    forward = Forward(module)
    expected, rows = SharedRows(forward), SharedRows(forward)
    for joined in (expected, rows):
        joined.join(read(forward, PROMPTS[0]))
    newcomer = read(forward, PROMPTS[2])
    with FewCopies(found), pytest.raises(torch.OutOfMemoryError):
        rows.join(newcomer)
    assert (len(rows), rows.held_bytes) == (1, expected.held_bytes)
    assert torch.equal(rows.step([5]), expected.step([5]))
    rows.join(newcomer)
    assert len(rows) == 2


def test_while_memory_lacks_the_newest_text_is_given_up_and_the_others_are_whole(
    module: PreTrainedModel, texts: list[str]
) -> None:
    lane, runs = lane_of(module), [ask(n) for n in range(3)]

    def starve(_: int) -> None:
        if steps.rows[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with steps_of(module) as steps:
        steps.before = starve
        ask_all(lane, runs)
        assert [runs[n].result.text for n in (0, 1)] == texts[:2]
        with pytest.raises(OutOfMemory, match="no memory left for a run of 3"):
            _ = runs[2].outcome
    lane.close()


def test_a_prompt_that_finds_no_memory_fails_alone(module: PreTrainedModel, texts: list[str]) -> None:
    lane, runs = lane_of(module), [ask(n) for n in range(3)]

    def starve(_: torch.nn.Module, __: object, given: dict[str, Any]) -> None:
        if given["input_ids"].shape[1] == len(PROMPTS[2]):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = module.register_forward_pre_hook(starve, with_kwargs=True)
    ask_all(lane, runs)
    assert [runs[n].result.text for n in (0, 1)] == texts[:2]
    with pytest.raises(OutOfMemory):
        _ = runs[2].outcome
    hook.remove()
    lane.close()


def test_keys_and_values_at_their_longest_are_what_the_footprint_has_for_them(module: PreTrainedModel) -> None:
    limits = Limits(3, 48)
    lane = lane_of(module, limits)
    runs = [Run(Generate(prompt, 48 - len(prompt)), n) for n, prompt in enumerate(("a", "cat", "that", "sat", "on"))]
    held: list[int] = []
    config = module.config.get_text_config()
    bytes_a_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    with steps_of(module) as steps:
        steps.before = lambda _: held.append(lane.held_bytes)
        ask_all(lane, runs)
        filled = [run.outcome.filled for run in runs]
    reserved = limits.max_batch * limits.max_sequence * bytes_a_token
    assert 1 <= reserved / max(held) <= 1.1
    assert max(filled) == 1.0
    lane.close()


def writing(longest: int, rows: int) -> Writing:
    recipe = Recipe(LogitsProcessorList(), StoppingCriteriaList(), can_share=rows == 0, rows=max(rows, 1))
    task = Generate("x", longest - 1)
    return Writing(Run(task).asked, task, [2], recipe, lambda: None, seed=None, eos=frozenset())  # type: ignore[arg-type,return-value]


@settings(max_examples=200, deadline=None)
@given(arrivals=st.lists(st.tuples(st.integers(2, 40), st.integers(0, 3), st.integers(0, 60)), max_size=12))
def test_whatever_arrives_no_more_is_held_than_there_is_room_for(arrivals: list[tuple[int, int, int]]) -> None:
    """Each with its length in the end, the rows it takes where it can't share, and for how long it stays."""
    room, running = Room(4, 4 * 40), list[tuple[Writing, int]]()
    waiting = [(writing(longest, rows), stay) for longest, rows, stay in arrivals]
    for now in range(1000):
        while waiting and room.takes(waiting[0][0], [one for one, _ in running]):
            one, stay = waiting.pop(0)
            running.append((one, now + stay))
        shared = [one.longest for one, _ in running if one.recipe.can_share]
        apart = [one.longest * one.recipe.rows for one, _ in running if not one.recipe.can_share]
        assert len(running) == 1 or len(shared) * max(shared, default=0) + sum(apart) <= room.tokens
        running = [(one, until) for one, until in running if until > now]
    assert not waiting  # nobody waits for ever


# ── one that can't go on ─────────────────────────────────────────────────────────────────────────


def test_scores_that_are_no_numbers_end_their_own_row(module: PreTrainedModel, texts: list[str]) -> None:
    lane, runs = lane_of(module), [ask(n) for n in range(3)]
    forwards = iter(range(1000))

    def spoil(_: torch.nn.Module, __: object, answer: Any) -> None:  # noqa: ANN401 - of transformers
        if len(answer.logits) == 3 and next(forwards) == 2:
            answer.logits[1] = torch.nan

    hook = module.register_forward_hook(spoil)
    ask_all(lane, runs)
    assert [runs[n].result.text for n in (0, 2)] == [texts[0], texts[2]]
    with pytest.raises(BadCheckpoint, match=r"after \d+ tokens the model's scores are no numbers"):
        _ = runs[1].outcome
    assert texts[1].startswith(runs[1].text)
    hook.remove()
    lane.close()


def test_an_error_of_the_device_reaches_all_and_the_lane_goes_on(module: PreTrainedModel, texts: list[str]) -> None:
    lane, runs = lane_of(module), [ask(n) for n in range(3)]

    def fail(_: int) -> None:
        if steps.rows[-1] == 3:
            raise RuntimeError("CUDA error: invalid argument")

    with steps_of(module) as steps:
        steps.before = fail
        ask_all(lane, runs)
        for run in runs:
            with pytest.raises(RuntimeError, match="invalid argument"):
                _ = run.outcome
    again = ask(0)
    lane.take(again.asked)
    assert again.result.text == texts[0]
    lane.close()


def test_what_can_t_be_meant_is_refused_while_others_write(module: PreTrainedModel, texts: list[str]) -> None:
    lane, runs = lane_of(module), [ask(0), ask(1, tokens=1000), ask(2)]
    ask_all(lane, runs)
    with pytest.raises(BadRequest, match="up to 1000 are to be written"):
        _ = runs[1].outcome
    assert [runs[n].result.text for n in (0, 2)] == [texts[0], texts[2]]
    lane.close()


# ── who runs when, and what it took ──────────────────────────────────────────────────────────────


def test_nobody_overtakes(module: PreTrainedModel) -> None:
    lane, began = lane_of(module, Limits(2, 96)), list[int]()

    class Noting(Run):
        def say(self, part: TaskPart) -> None:
            if not self.said:
                began.append(self.asked.id)
            super().say(part)

    runs = [Noting(Generate(PROMPTS[n % 3], 3 + n % 4), n) for n in range(8)]
    ask_all(lane, runs)
    for run in runs:
        _ = run.result
    assert began == list(range(8))
    lane.close()


def test_prompts_are_read_between_tokens_no_more_than_a_piece_at_once(module: PreTrainedModel) -> None:
    long = "x" * 50
    tasks = [Generate(PROMPTS[0], TOKENS), Generate("is", TOKENS), Generate(long, 3), Generate("on", TOKENS)]
    lane, runs = lane_of(module, piece_tokens=40), [Run(task, n) for n, task in enumerate(tasks)]
    with steps_of(module) as steps:
        steps.at_first(lambda: ask_all(lane, runs[1:]))
        lane.take(runs[0].asked)
        for run in runs:
            _ = run.result
    forwards = list(zip(steps.rows, steps.tokens, strict=True))
    # two short ones, a piece of the long one that needs two, its rest and another short one
    between: list[list[tuple[int, int]]] = [[(1, 14), (1, 2)], [(1, 40)], [(1, 10), (1, 2)]]
    assert forwards[:8] == [*between[0], (2, 1), *between[1], (2, 1), *between[2], (4, 1)]
    lane.close()


class Noticed(Turn):
    """Tells when a second lane asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes: set[int] = set()
        self.is_shared = threading.Event()

    @contextmanager
    def mine(self) -> Iterator[None]:
        self.lanes.add(threading.get_ident())
        if len(self.lanes) > 1:
            self.is_shared.set()
        with super().mine():
            yield


def test_two_lanes_of_a_device_take_turns_after_each_token(module: PreTrainedModel) -> None:
    other, turn = decoder("mamba"), Noticed()
    lanes, runs = [lane_of(module, turn=turn), lane_of(other, turn=turn)], [ask(0, tokens=80), ask(0)]
    order: list[str] = []

    def step_of_mine(forward: int) -> None:
        order.append("a")
        if forward == 0:
            lanes[1].take(runs[1].asked)
            assert turn.is_shared.wait(60)

    with steps_of(module) as mine, steps_of(other) as theirs:
        mine.before = step_of_mine
        theirs.before = lambda _: order.append("b")
        lanes[0].take(runs[0].asked)
        assert [run.result.tokens for run in runs] == [80, TOKENS]
    both = "".join(order)
    assert both.rindex("b") < both.rindex("a")
    assert both.count("ab") > 3
    for lane in lanes:
        lane.close()


class Measuring(HostRuns):
    """Each measurement finds another figure."""

    def __init__(self) -> None:
        self.taken = iter(range(100, 1000, 100))

    @contextmanager
    def measure(self) -> Iterator[Measurement]:
        took = Measurement()
        yield took
        took.workspace_bytes = next(self.taken)


def test_what_texts_took_together_is_told_with_the_last_of_them(module: PreTrainedModel) -> None:
    lane, runs = lane_of(module, LIMITS, memory=Measuring()), [ask(0, tokens=4), ask(1)]
    with steps_of(module) as steps:
        steps.at_first(lambda: lane.take(runs[1].asked))
        lane.take(runs[0].asked)
        outcomes = [run.outcome for run in runs]
    assert [outcome.workspace_bytes for outcome in outcomes] == [None, 100]
    assert outcomes[1].filled == pytest.approx(2 * (len(PROMPTS[0]) + 4) / (4 * 96), abs=0.03)
    assert all(outcome.device_s > 0 for outcome in outcomes)
    later = ask(0)
    lane.take(later.asked)
    assert later.outcome.workspace_bytes == 200
    lane.close()


class Broken(Measuring):
    """A device that can't say what was taken once it has broken."""

    @contextmanager
    def measure(self) -> Iterator[Measurement]:
        with super().measure() as took:
            yield took
        if took.workspace_bytes == 100:
            raise RuntimeError("no figures")


def test_a_device_that_can_t_be_measured_any_more_leaves_nobody_waiting(
    module: PreTrainedModel, texts: list[str]
) -> None:
    lane, run, later = lane_of(module, memory=Broken()), ask(0), ask(1)
    lane.take(run.asked)
    with pytest.raises(RuntimeError, match="no figures"):
        _ = run.outcome
    lane.take(later.asked)
    assert later.result.text == texts[1]
    lane.close()


def test_a_lane_tells_how_long_its_step_has_been_running(module: PreTrainedModel) -> None:
    lane, run = lane_of(module), ask(0)
    seen: list[float | None] = []
    with steps_of(module) as steps:
        steps.before = lambda _: seen.append(lane.step_s())
        lane.take(run.asked)
        _ = run.outcome
    assert all(step_s is not None for step_s in seen)
    assert lane.step_s() is None
    lane.close()


def test_a_closed_lane_ends_its_thread(module: PreTrainedModel) -> None:
    before = set(threading.enumerate())
    lane, run = lane_of(module), ask(0)
    lane.take(run.asked)
    _ = run.outcome
    (thread,) = set(threading.enumerate()) - before
    lane.close()
    thread.join(30)
    assert not thread.is_alive()
