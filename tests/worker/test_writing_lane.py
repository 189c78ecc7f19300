"""Texts that are written together, token by token: each is what its model writes alone, whoever joins and leaves."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from engine.core.tasks import Generate
from engine.worker.errors import Left
from engine.worker.writing_lane import WritingLane
from tests.worker.decoders import Run
from tests.worker.writing_families import (
    ALONE,
    SHARING,
    Steps,
    alone,
    ask_all,
    by_transformers,
    decoder,
    lane_of,
    text_of,
    tokens_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")

PROMPTS = ("a cat that sat", "on it", "and some that is longer than all windows", "joins")
TOKENS = 24
DRAWN = {"temperature": 0.8, "top_k": 30}


def asked(number: int, seed: int | None) -> Run:
    settings: dict[str, Any] = {} if seed is None else {"seed": seed, **DRAWN}
    return Run(Generate(PROMPTS[number], TOKENS, **settings), number)


@pytest.mark.parametrize("family", SHARING)
def test_each_text_is_what_its_model_writes_alone_whoever_joins_and_leaves(family: str) -> None:
    module = decoder(family)
    tokens = [by_transformers(module, tokens_of(prompt), TOKENS) for prompt in PROMPTS]
    assert len(set(chain(*tokens))) > 12  # or it would show nothing
    texts: dict[tuple[int, int | None], str] = {(n, None): text_of(written) for n, written in enumerate(tokens)}
    texts |= {(n, 7): alone(module, prompt, TOKENS, 7, **DRAWN) for n, prompt in enumerate(PROMPTS)}
    steps = Steps(module)
    for round_, piece_tokens in enumerate((1, 16, 128)):
        seeds = [None if (n + round_) % 2 else 7 for n in range(4)]
        runs = [asked(n, seed) for n, seed in enumerate(seeds)]
        lane = lane_of(module, piece_tokens=piece_tokens)
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
    module = decoder(family)
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
    assert runs[1].result.text == alone(module, PROMPTS[1], TOKENS, 7, **DRAWN)
    with pytest.raises(Left):
        _ = runs[2].outcome
    assert text_of(tokens[2]).startswith(runs[2].text)
    assert set(steps.rows) == {1}
    assert max(began) < 2 * TOKENS  # one after the other the last would begin after three times as many
    lane.close()


def test_an_encoder_that_is_asked_to_write_shares_nothing() -> None:
    module = decoder("bert")  # reads all again with each token
    steps, lane = Steps(module), lane_of(module)
    runs = [asked(0, None), asked(1, None)]
    steps.at_first(lambda: ask_all(lane, runs[1:]))
    lane.take(runs[0].asked)
    assert [run.result.text for run in runs] == [alone(module, prompt, TOKENS) for prompt in PROMPTS[:2]]
    assert set(steps.rows) == {1}
    lane.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
        {"eos_token_id": list(range(2, 60)), "min_new_tokens": 6},
        {"eos_token_id": list(range(2, 30)), "exponential_decay_length_penalty": [2, 1.5], "forced_eos_token_id": 9},
        {"suppress_tokens": list(range(10, 200)), "begin_suppress_tokens": [3, 4, 5]},
        {"bad_words_ids": [[token] for token in range(2, 150)], "sequence_bias": [[[200], 5.0]]},
    ],
    ids=lambda settings: ",".join(settings),
)
def test_what_the_checkpoint_asks_for_counts_for_each_row_by_its_own_tokens(settings: dict[str, Any]) -> None:
    module = decoder("llama", **settings)
    steps, lane = Steps(module), lane_of(module)
    runs = [asked(0, None), asked(1, 7), asked(2, None), asked(3, 7)]
    steps.at_first(lambda: ask_all(lane, runs[1:]))
    lane.take(runs[0].asked)
    results = [run.result for run in runs]
    assert max(steps.rows) > 2
    for n, (result, seed) in enumerate(zip(results, (None, 7, None, 7), strict=True)):
        assert result.text == alone(module, PROMPTS[n], TOKENS, seed, **(DRAWN if seed else {})), n
    lane.close()


def test_stop_strings_end_their_own_row_only_wherever_tokens_end() -> None:
    module = decoder("llama")
    texts = [alone(module, prompt, TOKENS) for prompt in PROMPTS]
    lane = lane_of(module)
    stops = [texts[0][5:8], texts[1][5:8]]
    runs = [Run(Generate(PROMPTS[n], TOKENS, stop=(stop,)), n) for n, stop in enumerate(stops)] + [asked(2, None)]
    ask_all(lane, runs)
    assert [run.result.text for run in runs] == [texts[n][: texts[n].index(stops[n])] for n in (0, 1)] + [texts[2]]
    assert [run.result.ended for run in runs] == ["stop", "stop", "length"]
    lane.close()


LONG_ROPE: dict[str, Any] = {
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 100.0,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
        "original_max_position_embeddings": 36,
    },
    "original_max_position_embeddings": 36,
}


def test_texts_that_turn_positions_another_way_from_some_length_on_leave_the_shorter_ones_alone() -> None:
    module = decoder("phi3", sizes=LONG_ROPE)
    steps, lane = Steps(module), lane_of(module)
    runs = [asked(1, None), asked(2, None), asked(3, None)]
    steps.at_first(lambda: ask_all(lane, runs[1:]))
    lane.take(runs[0].asked)
    for run, number in zip(runs, (1, 2, 3), strict=True):
        assert run.result.text == alone(module, PROMPTS[number], TOKENS), number
    assert max(steps.rows) == 2
    lane.close()
