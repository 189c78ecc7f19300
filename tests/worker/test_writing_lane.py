"""Texts that are written together, token by token: each is what its model writes alone, whoever joins, leaves or fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from engine.core.models import Limits
from engine.core.tasks import Generate
from engine.worker.errors import Left
from engine.worker.generation import Generator
from engine.worker.lanes import Turn
from engine.worker.running import HOST_RUNS
from engine.worker.shared_rows import Forward
from engine.worker.writing_lane import Room, WritingLane
from tests.worker.decoders import Run
from tests.worker.writing_families import ALONE, SHARING, by_transformers, decoder, letters_tokenizer

TOKENIZER = letters_tokenizer()
PROMPTS = ("a cat that sat", "on it", "and some that is longer than all windows", "joins")
TOKENS = 24
DRAWN = {"temperature": 0.8, "top_k": 30}
ROOM = Room(4, 4 * 96)


class Steps:
    """Of a module: what is to happen before its next forwards, on the thread that runs them."""

    def __init__(self, module: PreTrainedModel) -> None:
        self.rows: list[int] = []
        """Of each forward, how many it ran."""
        self.before: Callable[[int], object] = lambda _: None
        """Called with the number of the forward, from 0 on."""
        module.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, _: torch.nn.Module, __: tuple[object, ...], given: dict[str, Any]) -> None:
        self.rows.append(len(given["input_ids"]))
        self.before(len(self.rows) - 1)


def lane_of(module: PreTrainedModel, piece_tokens: int = 128, room: Room = ROOM, memory=HOST_RUNS) -> WritingLane:
    writer = Generator(module, TOKENIZER, Limits(4, 96), memory)
    return WritingLane("m", writer, Forward(module), room, memory, Turn(), piece_tokens)


def tokens_of(text: str) -> list[int]:
    tokens: list[int] = TOKENIZER(text)["input_ids"]
    return tokens


def text_of(tokens: list[int]) -> str:
    return str(TOKENIZER.decode(tokens, skip_special_tokens=True))


def drawn_alone(module: PreTrainedModel, prompt: str, seed: int) -> str:
    torch.manual_seed(seed)
    return text_of(by_transformers(module, tokens_of(prompt), TOKENS, do_sample=True, **DRAWN))


def asked(number: int, seed: int | None) -> Run:
    settings: dict[str, Any] = {} if seed is None else {"seed": seed, **DRAWN}
    return Run(Generate(PROMPTS[number], TOKENS, **settings), number)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small as these models are, more would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("family", SHARING)
def test_each_text_is_what_its_model_writes_alone_whoever_joins_and_leaves(family: str) -> None:
    module = decoder(family, TOKENIZER)
    tokens = [by_transformers(module, tokens_of(prompt), TOKENS) for prompt in PROMPTS]
    assert len(set(chain(*tokens))) > 12  # or it would show nothing
    texts = {(n, None): text_of(written) for n, written in enumerate(tokens)}
    texts |= {(n, 7): drawn_alone(module, prompt, 7) for n, prompt in enumerate(PROMPTS)}
    steps = Steps(module)
    for round_, piece_tokens in enumerate((1, 16, 128)):
        seeds = [None if (n + round_) % 2 else 7 for n in range(4)]
        runs = [asked(n, seed) for n, seed in enumerate(seeds)]
        lane = lane_of(module, piece_tokens)
        steps.rows.clear()

        def happen(forward: int, runs: list[Run] = runs, lane: WritingLane = lane) -> None:
            if forward % 3 == 0 and 0 < forward // 3 < len(runs):
                lane.take(runs[forward // 3].asked)
            if sum(rows > 1 for rows in steps.rows) == 4:
                lane.leave(1)  # the first that joined

        steps.before = happen
        lane.take(runs[0].asked)
        for n in (0, 2, 3):
            assert runs[n].result.text == texts[n, seeds[n]], (n, piece_tokens)
        with pytest.raises(Left):
            _ = runs[1].outcome
        assert texts[1, seeds[1]].startswith(runs[1].text)
        assert runs[1].text
        assert max(steps.rows) > (1 if piece_tokens == 1 else 2)
        lane.close()


@pytest.mark.parametrize("family", ALONE)
def test_families_that_can_t_share_write_side_by_side_token_by_token(family: str) -> None:
    module = decoder(family, TOKENIZER)
    tokens = [by_transformers(module, tokens_of(prompt), TOKENS) for prompt in PROMPTS]
    assert len(set(chain(*tokens))) > 12
    steps, lane = Steps(module), lane_of(module)
    runs = [asked(0, None), asked(1, 7), asked(2, None), asked(3, None)]
    began: list[int] = []
    """How many forwards there were before each run said something."""

    def happen(forward: int) -> None:
        began[:] = [*began, *[forward] * (sum(run.said != [] for run in runs) - len(began))]
        if forward == 0:
            for run in runs[1:]:
                lane.take(run.asked)
        if forward == 20:
            lane.leave(2)

    steps.before = happen
    lane.take(runs[0].asked)
    assert [runs[n].result.text for n in (0, 3)] == [text_of(tokens[n]) for n in (0, 3)]
    assert runs[1].result.text == drawn_alone(module, PROMPTS[1], 7)
    with pytest.raises(Left):
        _ = runs[2].outcome
    assert text_of(tokens[2]).startswith(runs[2].text)
    assert set(steps.rows) == {1}
    assert max(began) < 2 * TOKENS  # one after the other the last would begin after three times as many
    lane.close()
