"""What a model writes: as transformers writes on the same folder, greedily or drawn, within its limits, and why it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.core.models import Limits, ModelSpec
from engine.core.tasks import Continuation, Generate
from engine.weights.checks import check_checkpoint
from engine.weights.errors import BadCheckpoint
from engine.worker.convert import load_module, write_module
from engine.worker.errors import BadRequest
from engine.worker.generation import Generator
from engine.worker.skeleton import Skeleton
from engine.worker.tokenizer import load_tokenizer
from tests.worker.decoders import (
    FAMILIES,
    LIMITS,
    ask_for,
    fallback_tokenizer,
    generator,
    outcome_of,
    write_decoder,
    written,
    written_by_transformers,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = ModelSpec("m", ("path:there",), "generation")
PROMPT = "the cat"
E = 70
"""The token of an `e`."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_decoder(tmp_path / "llama")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_writes_what_transformers_writes(family: str, tmp_path: Path) -> None:
    folder = write_decoder(tmp_path / family, family)
    runner = generator(folder)
    text, tokens = written_by_transformers(folder, PROMPT, 24)
    assert len(set(tokens)) > 4  # a model that writes one token for ever would show nothing
    assert written(runner, Generate(PROMPT, 24)).text == text
    for settings in ({"temperature": 1.5, "top_k": 0}, {"temperature": 0.8, "top_p": 0.9, "top_k": 20, "min_p": 0.01}):
        torch.manual_seed(11)
        text, _ = written_by_transformers(folder, PROMPT, 16, do_sample=True, **settings)
        result = written(runner, Generate(PROMPT, 16, seed=11, **settings))  # type: ignore[arg-type]
        assert (result.text, result.seed) == (text, 11)


@pytest.mark.parametrize("temperature", [1e-308, 1e-45, 1e-20])
def test_next_to_no_temperature_writes_what_none_does(folder: Path, temperature: float) -> None:
    runner = generator(folder)
    cold = written(runner, Generate(PROMPT, 12, temperature=temperature))
    assert cold.text == written(runner, Generate(PROMPT, 12, temperature=0)).text


def test_a_draw_takes_nothing_from_the_generator_that_all_of_torch_shares(folder: Path) -> None:
    runner = generator(folder)
    torch.manual_seed(5)
    expected = torch.rand(3).tolist()
    torch.manual_seed(5)
    texts = {written(runner, Generate(PROMPT, 12, sample=True, temperature=3.0)).text for _ in range(3)}
    assert torch.rand(3).tolist() == expected
    assert len(texts) == 3  # a new seed each time


@pytest.mark.parametrize(
    "settings",
    [
        {"eos_token_id": list(range(40, 120))},
        {"eos_token_id": None},
        {"repetition_penalty": 0.5},
        {"repetition_penalty": 0.5, "no_repeat_ngram_size": 2},
        {"suppress_tokens": list(range(10, 200))},
        {"begin_suppress_tokens": list(range(2, 120))},
        {"bad_words_ids": [[token] for token in range(2, 150)]},
        {"forced_bos_token_id": 66},
        {"forced_eos_token_id": 1},
        {"min_new_tokens": 8, "eos_token_id": list(range(2, 200))},
        {"sequence_bias": [[[E], 50.0]]},
        {"exponential_decay_length_penalty": [2, 3.0], "eos_token_id": 80},
        {"num_beams": 3, "length_penalty": 0.5},
        {"num_beams": 2, "num_return_sequences": 2},
        {"max_length": 4, "min_length": 3},
        {"use_cache": False},
        {"cache_implementation": "static"},
        {"guidance_scale": 1.5},
        {"do_sample": True, "temperature": 0.7, "top_p": 0.9},
        {"renormalize_logits": True},
    ],
    ids=lambda settings: ",".join(settings),
)
def test_what_the_checkpoint_asks_for_is_done_as_transformers_does_it(settings: dict[str, Any], folder: Path) -> None:
    plain = written(generator(folder), Generate(PROMPT, 12)).text
    ask_for(folder, **settings)
    text, tokens = written_by_transformers(folder, PROMPT, 12)
    if "repetition_penalty" in settings:
        assert text != plain  # or neither of the two would show that it counts
    result = written(generator(folder), Generate(PROMPT, 12))
    assert (result.text, result.tokens) == (text, len(tokens))


def test_settings_in_the_configuration_count_where_there_is_no_file_for_them(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"repetition_penalty": 0.5}))
    text, _ = written_by_transformers(folder, PROMPT, 12)
    assert written(generator(folder), Generate(PROMPT, 12)).text == text


def test_a_draw_begins_from_the_checkpoint_s_own_settings(folder: Path) -> None:
    ask_for(folder, do_sample=True, temperature=2.0, top_p=0.8, typical_p=0.9, epsilon_cutoff=0.001, eta_cutoff=0.001)
    runner = generator(folder)
    for asked in ({}, {"top_p": 0.5}, {"temperature": 0.5}):
        torch.manual_seed(2)
        text, _ = written_by_transformers(folder, PROMPT, 12, do_sample=True, **asked)
        assert written(runner, Generate(PROMPT, 12, sample=True, seed=2, **asked)).text == text  # type: ignore[arg-type]


def test_a_request_s_repetition_penalty_takes_the_place_of_the_checkpoint_s(folder: Path) -> None:
    ask_for(folder, repetition_penalty=1.9)
    texts = [written_by_transformers(folder, PROMPT, 16, repetition_penalty=penalty)[0] for penalty in (0.5, 1.9)]
    assert texts[0] != texts[1]
    assert written(generator(folder), Generate(PROMPT, 16, repetition_penalty=0.5)).text == texts[0]


@pytest.mark.parametrize(
    "setting",
    [
        {"num_beam_groups": 2, "num_beams": 2},
        {"penalty_alpha": 0.6, "top_k": 4},
        {"dola_layers": "high"},
        {"prompt_lookup_num_tokens": 3},
        {"max_time": 1.0},
        {"token_healing": True},
        {"forced_eos_token_id": [1, 999]},
        {"temperature": "hot"},
        {"num_beams": 2, "stop_strings": ["a"]},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_settings_that_are_not_carried_out_are_refused_by_name(setting: dict[str, Any], folder: Path) -> None:
    ask_for(folder, **setting)
    with pytest.raises(BadCheckpoint, match=rf"generation_config\.json asks for {next(iter(setting))}"):
        check_checkpoint(folder, SPEC)


def test_settings_that_ask_for_nothing_are_let_pass(folder: Path) -> None:
    ask_for(folder, num_beam_groups=1, penalty_alpha=0.0, token_healing=False, max_time=None, temperature=1)
    check_checkpoint(folder, SPEC)


def test_beams_can_t_be_drawn_with(folder: Path) -> None:
    ask_for(folder, num_beams=2)
    with pytest.raises(BadRequest, match="num_beams"):
        written(generator(folder), Generate(PROMPT, 4, temperature=1.0))


# ── why a text ends ──────────────────────────────────────────────────────────────────────────────


def test_a_text_says_why_it_ended(folder: Path) -> None:
    runner = generator(folder)
    whole = written(runner, Generate(PROMPT, 24))
    assert (whole.ended, whole.tokens, whole.prompt_tokens, whole.stop, whole.seed) == ("length", 24, 5, "", None)
    stop = whole.text[6:9]
    cut = written(runner, Generate(PROMPT, 24, stop=("never", stop)))
    assert (cut.ended, cut.stop) == ("stop", stop)
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.tokens < 24
    ask_for(folder, eos_token_id=list(range(2, 256)))
    ended = written(generator(folder), Generate(PROMPT, 24))
    assert (ended.ended, ended.tokens) == ("eos", 1)


def test_stop_strings_of_the_checkpoint_end_a_text_as_in_transformers(folder: Path) -> None:
    whole = written(generator(folder), Generate(PROMPT, 24)).text
    inside = next(character for character in whole[3:] if character.isalpha() and character.isascii())
    for stops, bias in ((["never", inside], None), ("te", [[[E], 50.0]])):  # the second begins in the prompt
        ask_for(folder, stop_strings=stops, sequence_bias=bias)
        text, tokens = written_by_transformers(folder, PROMPT, 24, tokenizer=load_tokenizer(folder))
        result = written(generator(folder), Generate(PROMPT, 24))
        assert len(tokens) < 24
        assert (result.text, result.tokens, result.ended) == (text, len(tokens), "stop")
        assert result.stop in stops


def test_a_stop_string_ends_the_text_of_beams_too(folder: Path) -> None:
    ask_for(folder, num_beams=2)
    runner = generator(folder)
    whole = written(runner, Generate(PROMPT, 16)).text
    cut = written(runner, Generate(PROMPT, 16, stop=(whole[3:5],)))
    assert (cut.text, cut.ended) == (whole[: whole.index(whole[3:5])], "stop")


def test_a_special_token_is_a_stop_string_by_itself_only(folder: Path) -> None:
    ask_for(folder, forced_eos_token_id=0)  # `<s>`, which ends no text by itself
    runner = generator(folder)
    ended = written(runner, Generate(PROMPT, 6, stop=("<s>",)))
    assert (ended.ended, ended.stop, ended.tokens) == ("stop", "<s>", 6)
    with pytest.raises(BadRequest, match=r"has the special token <s>.*give it alone"):
        written(runner, Generate(PROMPT, 6, stop=("\n<s>",)))


# ── what does not fit, and what is no answer ─────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("limits", "characters", "tokens", "words"),
    [
        (Limits(1, 32), 30, 8, r"30 tokens.*up to 8.*takes 32 in all.*limits\.max_sequence.*ask for at most 2"),
        (Limits(1, 32), 40, 8, r"40 tokens.*shorten the prompt"),
        (Limits(1, 500), 130, 8, r"130 tokens.*takes 128 in all.*positions of its config\.json"),
        (Limits(1, 32), 5_000_000, 8, r"over 32 tokens.*shorten the prompt"),
        (Limits(1, 32), 3, 10_000, r"3 tokens.*up to 10000.*ask for at most 29"),
    ],
)
def test_a_prompt_that_leaves_no_room_is_refused_and_never_cut(
    limits: Limits, characters: int, tokens: int, words: str, folder: Path
) -> None:
    runner = generator(folder, limits)
    with pytest.raises(BadRequest, match=words):
        written(runner, Generate("x" * characters, tokens))


def test_a_prompt_that_just_fits_is_answered(folder: Path) -> None:
    outcome = outcome_of(generator(folder, Limits(1, 32)), Generate("x" * 24, 8))
    assert isinstance(outcome.result, Continuation)
    assert (outcome.result.prompt_tokens, outcome.result.tokens, outcome.filled) == (24, 8, 1.0)


def test_an_empty_prompt_is_refused_unless_it_has_a_token_of_its_own(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="the prompt is empty"):
        written(generator(folder), Generate("", 4))
    begins = write_decoder(tmp_path / "begins", tokenizer=fallback_tokenizer())
    result = written(generator(begins), Generate("", 4))
    assert (result.prompt_tokens, result.tokens) == (1, 4)


def test_scores_that_are_no_numbers_are_refused_with_the_cause(folder: Path) -> None:
    module = load_module(folder, "generation", torch.float32)
    runner = Generator(module, load_tokenizer(folder), LIMITS)
    for number, words in ((float("nan"), "are no numbers"), (float("inf"), "are no numbers")):
        module.get_submodule("model.norm").get_parameter("weight").data[0] = number
        for task in (Generate(PROMPT, 4), Generate(PROMPT, 4, temperature=1.0)):
            with pytest.raises(BadCheckpoint, match=words):
                written(runner, task)
        with pytest.raises(BadCheckpoint, match=words):
            runner.warm()


def test_settings_that_leave_no_token_are_refused(folder: Path) -> None:
    ask_for(folder, suppress_tokens=list(range(300)))
    with pytest.raises(BadCheckpoint, match="forbid all of them"):
        written(generator(folder), Generate(PROMPT, 4))


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.add_tokens(["zebra"])
    runner = Generator(load_module(folder, "generation", torch.float32), tokenizer, LIMITS)
    with pytest.raises(BadRequest, match=r"'zebra'.*its tokenizer is of another model"):
        written(runner, Generate("a zebra", 4))


def test_a_skeleton_reads_settings_where_from_pretrained_does(folder: Path, tmp_path: Path) -> None:
    (folder / "generation_config.json").unlink()
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"no_repeat_ngram_size": 2}))
    module = load_module(folder, "generation", torch.float32)
    write_module(module, tmp_path / "prepared", folder, "path:there", lambda _: None)
    settings = Skeleton(tmp_path / "prepared").module.generation_config
    assert settings is not None
    assert (settings.no_repeat_ngram_size, settings.eos_token_id) == (2, 1)


@pytest.mark.parametrize(("presence", "frequency"), [(2.0, 0.0), (0.0, 2.0), (1.0, 1.5), (-2.0, 0.0)])
def test_penalties_count_what_was_written_and_not_the_prompt(folder: Path, presence: float, frequency: float) -> None:
    module, tokenizer = load_module(folder, "generation", torch.float32), load_tokenizer(folder)
    tokens = tokenizer(PROMPT)["input_ids"]
    written_so_far: list[int] = []
    with torch.inference_mode():
        for _ in range(16):
            scores = module(input_ids=torch.tensor([tokens + written_so_far])).logits[0, -1].clone()
            for token in set(written_so_far):
                scores[token] -= presence + frequency * written_so_far.count(token)
            written_so_far.append(int(scores.argmax()))
            if written_so_far[-1] == 1:
                break
    task = Generate(PROMPT, 16, presence_penalty=presence, frequency_penalty=frequency)
    assert written(generator(folder), task).text == tokenizer.decode(written_so_far, skip_special_tokens=True)


def test_as_much_is_written_as_fits_where_that_is_enough(folder: Path) -> None:
    prompt = "x" * 90
    with pytest.raises(BadRequest, match="takes 96 in all"):
        written(generator(folder), Generate(prompt, 50))
    assert written(generator(folder), Generate(prompt, 50, as_fits=True)).tokens <= 96 - 90
    with pytest.raises(BadRequest, match="takes 96 in all"):
        written(generator(folder), Generate("x" * 96, 50, as_fits=True))
