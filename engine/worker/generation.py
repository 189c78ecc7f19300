"""A prompt to what a model writes after it, as transformers' `generate` writes on the same folder, within the model's limits."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from engine.core.models import Limits
from engine.core.tasks import Continuation, Ended, Generate, TextPart
from engine.weights.errors import BadCheckpoint
from engine.worker.errors import BadRequest, in_short
from engine.worker.lanes import Turn, WholeRuns
from engine.worker.next_token import NotNumbers, processors
from engine.worker.prompt import limit_of, prompt_tokens
from engine.worker.running import HOST_RUNS, RunMemory, RunOutcome, Say, once_more
from engine.worker.text_stream import TextStream, text_stream

_SEED_BITS: Final = 32
_WHERE: Final = "generation_config.json, or config.json where there is none"


class Generator:
    """Runs a generation model that is bound."""

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
        self._vocabulary: Final = int(module.config.get_text_config().vocab_size)
        self._memory: Final = memory
        self._settings: Final = module.generation_config or GenerationConfig()  # type: ignore[no-untyped-call]
        # Taken out of the settings: transformers' own search for them fails with tokenizers that it was not made for.
        self._own_stops: Final = tuple(_listed(self._settings.stop_strings))
        self._settings.stop_strings = None

    def run(self, task: Generate, say: Say) -> RunOutcome:
        """What the model writes, said as it is written. Raises BadRequest, OutOfMemory, and BadCheckpoint where the
        model's scores are no numbers."""
        if task.draws:
            _check_drawing(self._settings)
        row = prompt_tokens(self._tokenizer, task, self._limit, self._vocabulary)
        ends = _ending_tokens(self._tokenizer, (*self._own_stops, *task.stop))
        seed = (secrets.randbits(_SEED_BITS) if task.seed is None else task.seed) if task.draws else None
        before = str(self._tokenizer.decode(row[-_longest(self._own_stops) :], skip_special_tokens=True))

        def write() -> Continuation:
            own = _Watch(self._own_stops, before)
            return self._write(row, task, seed, _Voice(text_stream(self._tokenizer, task.stop), ends, own, say))

        written = once_more(write, self._memory)
        if written is None:
            raise self._memory.shortage(1)
        return RunOutcome(written, min(1.0, (len(row) + written.tokens) / self._limit.tokens))

    def lane(self, name: str, turn: Turn) -> WholeRuns:
        return WholeRuns(self.run, self._memory, turn, name)

    def warm(self) -> None:
        nobody = _Voice(text_stream(self._tokenizer), {}, _Watch((), ""), lambda _: None)
        self._write([0], Generate("", max_tokens=1), None, nobody)

    @torch.inference_mode()
    def _write(self, row: list[int], task: Generate, seed: int | None, voice: _Voice) -> Continuation:
        # Which of several beams is the text shows at the end only, so that nothing can be said before.
        is_certain = _beams(self._settings) == 1
        try:
            written = self._tokens(row, task, seed, StoppingCriteriaList([_Hearing(voice)] if is_certain else []))
        except NotNumbers as error:
            raise BadCheckpoint(f"after {voice.tokens} tokens {error}") from error
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise BadCheckpoint(
                f"transformers can't write as its settings ask ({_WHERE}): {in_short(error) or type(error).__name__}"
            ) from error
        if not is_certain:
            voice.hear(written)
        voice.end()
        ended = self._ended(voice, written[: voice.tokens])
        return Continuation(voice.text, voice.tokens, ended, voice.stop, len(row), seed)

    def _tokens(self, row: list[int], task: Generate, seed: int | None, criteria: StoppingCriteriaList) -> list[int]:
        prompt = torch.tensor([row], device=self._module.device)
        asked: dict[str, Any] = {}
        if task.repetition_penalty is not None:
            asked["repetition_penalty"] = float(task.repetition_penalty)
        answer = self._generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=task.max_tokens,
            do_sample=False,
            num_return_sequences=1,
            return_dict_in_generate=False,
            pad_token_id=self._tokenizer.pad_token_id,
            logits_processor=processors(task, self._settings, seed, self._module.device),
            stopping_criteria=criteria,
            **asked,
        )
        written: list[int] = answer[0, len(row) :].tolist()
        return written

    def _ended(self, voice: _Voice, written: list[int]) -> Ended:
        if voice.stop:
            return "stop"
        return "eos" if written and written[-1] in _listed(self._settings.eos_token_id) else "length"


class _Watch:
    """Looks for the checkpoint's own stop strings as transformers does: they may begin in the prompt, and belong to the text."""

    def __init__(self, stops: Sequence[str], before: str) -> None:
        self._stops: Final = stops
        self._tail = before

    def found_with(self, text: str) -> str:
        """The stop string that ends in what is written next; empty where none does."""
        for stop in self._stops:
            begun = self._tail[max(0, len(self._tail) - len(stop) + 1) :]
            if stop in begun + text:
                return stop
        self._tail = (self._tail + text)[-_longest(self._stops) :]
        return ""


class _Voice:
    """Says a text as far as it is certain, token by token, until a stop string or one of the tokens that end it."""

    def __init__(self, stream: TextStream, ends: Mapping[int, str], own: _Watch, say: Say) -> None:
        self._stream: Final = stream
        self._ends: Final = ends
        self._own: Final = own
        self._say: Final = say
        self.text = ""
        self.tokens = 0
        self.stop = ""

    def hear(self, tokens: list[int]) -> None:
        """The next tokens that were written; what comes after the end is not heard."""
        for token in tokens:
            if self.stop:
                return
            self.tokens += 1
            if token in self._ends:
                self.stop = self._ends[token]
            else:
                self._utter(self._stream.add(token))

    def end(self) -> None:
        """There are no more."""
        self._utter(self._stream.end())

    def _utter(self, text: str) -> None:
        if text:
            self._say(TextPart(len(self.text), text))
            self.text += text
        self.stop = self.stop or self._stream.stop or self._own.found_with(text)


class _Hearing(StoppingCriteria):
    """Has a voice hear each token that `generate` writes, and ends the writing with the text."""

    def __init__(self, voice: _Voice) -> None:
        self._voice: Final = voice

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        self._voice.hear(input_ids[0, -1:].tolist())
        return torch.full((len(input_ids),), self._voice.stop != "", device=input_ids.device)


# ── what a checkpoint and a request ask for ──────────────────────────────────────────────────────


def _longest(texts: Sequence[str]) -> int:
    return max(map(len, texts), default=1)


def _check_drawing(settings: GenerationConfig) -> None:
    """Raises BadRequest for settings with which a draw would not be one by its seed."""
    for name, asks in (
        ("num_beams", _beams(settings) > 1),
        ("watermarking_config", bool(settings.watermarking_config)),
    ):
        if asks:
            raise BadRequest(
                f"its settings for writing ({_WHERE}) ask for {name}, which can't be drawn with: leave out sample, temperature,"
                " top_p, top_k and min_p, or take it out of the file"
            )


def _beams(settings: GenerationConfig) -> int:
    return settings.num_beams or 1


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - settings that are one of something, or several
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _ending_tokens(tokenizer: PreTrainedTokenizerBase, stops: tuple[str, ...]) -> dict[int, str]:
    """The stop strings that are special tokens: they are part of no text, and end it as tokens. Raises BadRequest for those that
    have one among other characters, and so could never end one."""
    if not stops:
        return {}
    special = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    for stop in stops:
        if stop not in special and (inside := next((token for token in special if token in stop), None)):
            raise BadRequest(
                f"the stop string {stop!r} has the special token {inside}, which no text has; give it alone"
            )
    return {special[stop]: stop for stop in stops if stop in special}


def decoder_class(config: PreTrainedConfig) -> Any:  # noqa: ANN401 - transformers' classes share no type
    """The class that loads a checkpoint of this configuration for generation. Models that take pictures, too, write text from
    text alone as well."""
    return AutoModelForCausalLM if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING else AutoModelForImageTextToText
