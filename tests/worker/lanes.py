"""Asking lanes, as a worker does, and hearing what came of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Final, NamedTuple

import torch

from engine.core.tasks import Embed, Task, TaskPart, TextTokens, Vectors
from engine.worker.lanes import Asked, Lane, Runner, Turn
from engine.worker.running import RunOutcome

_numbers: Final = count(1)


class Answer(Future[RunOutcome]):
    """What comes of a run. A second answer is an error where it is given."""

    def __init__(self, run: int) -> None:
        super().__init__()
        self.run: Final = run


def ask(lane: Lane, task: Task, say: Callable[[TaskPart], None] = lambda _: None) -> Answer:
    """Have the lane run a task."""
    answer = Answer(next(_numbers))
    lane.take(Asked(answer.run, task, say, answer.set_result, answer.set_exception))
    return answer


def ran_in(lane: Lane, task: Task) -> RunOutcome:
    """What comes of a task."""
    return ask(lane, task).result()


def ran(runner: Runner, task: Task) -> RunOutcome:
    """What comes of a task that has a lane of its own."""
    lane = runner.lane("m", Turn())
    try:
        return ran_in(lane, task)
    finally:
        lane.close()


class Embedded(NamedTuple):
    """What a run made of texts."""

    vectors: torch.Tensor
    tokens: tuple[TextTokens, ...]
    prompt: str
    filled: float


def embedded_in(outcome: RunOutcome) -> Embedded:
    """The vectors as a tensor."""
    made = outcome.result
    assert isinstance(made, Vectors)
    figures = torch.frombuffer(bytearray(made.figures), dtype=torch.float32) if made.figures else torch.empty(0)
    return Embedded(figures.reshape(-1, made.dimensions), made.tokens, made.prompt, outcome.filled)


def embed(runner: Runner, task: Embed) -> Embedded:
    """What comes of the task in a lane of its own."""
    return embedded_in(ran(runner, task))
