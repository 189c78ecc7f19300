"""A prompt to what a model writes after it, as transformers' `generate` writes on the same folder, within the model's limits."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

import torch
from msgspec.structs import replace
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from engine.core.models import Limits
from engine.core.tasks import Generate
from engine.worker.errors import BadRequest
from engine.worker.lanes import Asked, Lane, Turn
from engine.worker.next_token import processors
from engine.worker.prompt import limit_of, prompt_tokens
from engine.worker.running import HOST_RUNS, RunMemory, once_more
from engine.worker.shared_rows import Forward, can_share, longest_shared
from engine.worker.text_stream import text_stream
from engine.worker.voice import OwnStops, Voice, ending_tokens, longest_text
from engine.worker.writing import FROM_FILES, Recipe, Writing, as_the_settings_ask
from engine.worker.writing_lane import Room, WritingLane

_SEED_BITS: Final = 32


class Generator:
    """Writes with a generation model that is bound: several texts together, where the family and its settings allow it."""

    def __init__(
        self,
        module: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        limits: Limits,
        memory: RunMemory = HOST_RUNS,
    ) -> None:
        """What its settings ask for is carried out; `weights.writing_settings` has refused the rest."""
        self._module: Final = module
        self._generate: Final[Callable[..., torch.Tensor]] = getattr(module, "generate")  # noqa: B009 - typed as Tensor
        self._tokenizer: Final = tokenizer
        self._limit: Final = limit_of(tokenizer, limits, module.config)
        self._room: Final = Room(limits.max_batch, limits.max_batch * self._limit.tokens)
        self._longest_shared: Final = longest_shared(module.config)
        self._vocabulary: Final = int(module.config.get_text_config().vocab_size)
        self._memory: Final = memory
        self._settings: Final = module.generation_config or GenerationConfig()  # type: ignore[no-untyped-call]
        # Taken out of the settings: transformers' own search for them fails with tokenizers that it was not made for.
        self._own_stops: Final = tuple(_listed(self._settings.stop_strings))
        self._settings.stop_strings = None

    def lane(self, name: str, turn: Turn) -> Lane:
        """Where the model of that name writes for all who ask, once it is bound."""
        return WritingLane(name, self, Forward(self._module), self._room, self._memory, turn)

    def begin(self, asked: Asked) -> Writing:
        """The text that somebody asked for, of which nothing is written yet. Raises BadRequest, and BadCheckpoint where
        transformers can't do what the settings ask."""
        task = asked.task
        assert isinstance(task, Generate)
        if task.draws:
            _check_drawing(self._settings)
        prompt = prompt_tokens(self._tokenizer, task, self._limit, self._vocabulary)
        if task.as_fits:
            task = replace(task, max_tokens=min(task.max_tokens, self._limit.tokens - len(prompt)))
        ends = ending_tokens(self._tokenizer, (*self._own_stops, *task.stop))
        seed = (secrets.randbits(_SEED_BITS) if task.seed is None else task.seed) if task.draws else None
        before = str(self._tokenizer.decode(prompt[-longest_text(self._own_stops) :], skip_special_tokens=True))

        def new_voice() -> Voice:
            return Voice(text_stream(self._tokenizer, task.stop), ends, OwnStops(self._own_stops, before), asked.say)

        with as_the_settings_ask():
            recipe = self._recipe(prompt, task, seed)
        return Writing(
            asked, task, prompt, recipe, new_voice, seed=seed, eos=frozenset(_listed(self._settings.eos_token_id))
        )

    def write_alone(self, writing: Writing, between: Callable[[], None]) -> None:
        """All of a text, by `generate` itself. `between`: called after each token; what it raises ends the writing. Raises
        OutOfMemory, and BadCheckpoint where the model's scores are no numbers."""

        def write() -> Writing:
            writing.begin_anew()
            self._write(writing, between)
            return writing

        if once_more(write, self._memory) is None:
            raise self._memory.shortage(writing.recipe.rows)

    def warm(self) -> None:
        """The shortest text there is."""
        task = Generate("", max_tokens=1)
        asked = Asked(0, task, *[lambda _: None] * 3)
        plain = Recipe(LogitsProcessorList(), StoppingCriteriaList(), can_share=False, rows=1)
        voice = Voice(text_stream(self._tokenizer), {}, OwnStops((), ""), asked.say)
        self._write(Writing(asked, task, [0], plain, lambda: voice, seed=None, eos=frozenset()), lambda: None)

    def _recipe(self, prompt: list[int], task: Generate, seed: int | None) -> Recipe:
        """What `generate` would write by: it makes all of it ready, and hands it over instead of writing."""
        kept: list[Recipe] = []

        def keep(
            model: PreTrainedModel,
            input_ids: torch.Tensor,
            logits_processor: LogitsProcessorList,
            stopping_criteria: StoppingCriteriaList,
            generation_config: GenerationConfig,
            **given: object,
        ) -> torch.Tensor:
            is_short = self._longest_shared is None or len(prompt) + task.max_tokens <= self._longest_shared
            shares = (
                is_short
                and _beams(generation_config) == 1
                and can_share(model, given.get("past_key_values"), given, logits_processor)
            )
            kept.append(Recipe(logits_processor, stopping_criteria, shares, _beams(generation_config)))
            return input_ids

        self._call_generate(prompt, task, seed, StoppingCriteriaList(), custom_generate=keep)
        return kept[0]

    @torch.inference_mode()
    def _write(self, writing: Writing, between: Callable[[], None]) -> None:
        voice = writing.voice
        # Which of several beams is the text shows at the end only, so that nothing can be said before.
        is_certain = _beams(self._settings) == 1
        criteria = StoppingCriteriaList([_Hearing(voice if is_certain else None, between)])
        with as_the_settings_ask(voice):
            answer = self._call_generate(writing.prompt, writing.task, writing.seed, criteria)
        written: list[int] = answer[0, len(writing.prompt) :].tolist()
        if not is_certain:
            voice.hear(written)
        voice.end()
        writing.written = written[: voice.tokens]

    def _call_generate(
        self,
        prompt: list[int],
        task: Generate,
        seed: int | None,
        criteria: StoppingCriteriaList,
        **more: Any,  # noqa: ANN401 - arguments of `generate`
    ) -> torch.Tensor:
        row = torch.tensor([prompt], device=self._module.device)
        if task.repetition_penalty is not None:
            more["repetition_penalty"] = float(task.repetition_penalty)
        return self._generate(
            input_ids=row,
            attention_mask=torch.ones_like(row),
            max_new_tokens=task.max_tokens,
            do_sample=False,
            num_return_sequences=1,
            return_dict_in_generate=False,
            pad_token_id=self._tokenizer.pad_token_id,
            logits_processor=processors(task, self._settings, seed, self._module.device, len(prompt)),
            stopping_criteria=criteria,
            **more,
        )


class _Hearing(StoppingCriteria):
    """Has a voice hear each token that `generate` writes, ends the writing with the text, and lets others run in between."""

    def __init__(self, voice: Voice | None, between: Callable[[], None]) -> None:
        """`voice`: None where what is written is not certain before the end."""
        self._voice: Final = voice
        self._between: Final = between

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        if self._voice is not None:
            self._voice.hear(input_ids[0, -1:].tolist())
        self._between()
        is_done = self._voice is not None and self._voice.stop != ""
        return torch.full((len(input_ids),), is_done, device=input_ids.device)


# ── what a checkpoint and a request ask for ──────────────────────────────────────────────────────


def _check_drawing(settings: GenerationConfig) -> None:
    """Raises BadRequest for settings with which a draw would not be one by its seed."""
    for name, asks in (
        ("num_beams", _beams(settings) > 1),
        ("watermarking_config", bool(settings.watermarking_config)),
    ):
        if asks:
            raise BadRequest(
                f"its settings for writing ({FROM_FILES}) ask for {name}, which can't be drawn with: leave out sample,"
                " temperature, top_p, top_k and min_p, or take it out of the file"
            )


def _beams(settings: GenerationConfig) -> int:
    return settings.num_beams or 1


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - settings that are one of something, or several
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def decoder_class(config: PreTrainedConfig) -> Any:  # noqa: ANN401 - transformers' classes share no type
    """The class that loads a checkpoint of this configuration for generation. Models that take pictures, too, write text from
    text alone as well."""
    return AutoModelForCausalLM if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING else AutoModelForImageTextToText
