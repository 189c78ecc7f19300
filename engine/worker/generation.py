"""A prompt to its greedy continuation, within the model's limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from engine.core.models import Limits
from engine.core.tasks import Continuation, Generate, TextPart
from engine.worker.errors import BadRequest
from engine.worker.running import HOST_RUNS, RunMemory, RunOutcome, Say, once_more
from engine.worker.tokenizer import longest_input

_NO_CHARACTER: Final = "\N{REPLACEMENT CHARACTER}"
"""What bytes are decoded to that are no whole character yet."""


class Generator:
    """Runs a generation model that is bound."""

    def __init__(
        self,
        module: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        limits: Limits,
        memory: RunMemory = HOST_RUNS,
    ) -> None:
        self._module: Final = module
        self._generate: Final[Callable[..., torch.Tensor]] = getattr(module, "generate")  # noqa: B009 - typed as Tensor
        self._tokenizer: Final = tokenizer
        self._limits: Final = limits
        self._memory: Final = memory

    @torch.inference_mode()
    def run(self, task: Generate, say: Say) -> RunOutcome:
        """What the model writes, said as it is written."""
        row: list[int] = self._tokenizer(task.prompt)["input_ids"]
        if not row:
            raise BadRequest("the prompt is empty")
        limit = longest_input(self._tokenizer, self._limits)
        kept, new = share_limit(len(row), task.max_tokens, limit)
        written = once_more(lambda: self._continue(row[-kept:], new, say), self._memory)
        if written is None:
            raise self._memory.shortage(1)
        text = str(self._tokenizer.decode(written, skip_special_tokens=True))
        return RunOutcome(Continuation(text, len(written)), min(1.0, (kept + len(written)) / limit))

    def warm(self) -> None:
        self.run(Generate("warm", max_tokens=1), lambda _: None)

    def _continue(self, row: list[int], new: int, say: Say) -> torch.Tensor:
        tokens = torch.tensor([row], device=self._module.device)
        # A checkpoint may ask for beams. Which of them is the text shows at the end only, so that nothing can be said before.
        config = self._module.generation_config
        is_certain = config is None or (config.num_beams or 1) == 1
        answer = self._generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=new,
            do_sample=False,
            pad_token_id=self._tokenizer.pad_token_id,
            streamer=_Saying(self._tokenizer, say) if is_certain else None,
        )
        return answer[0, len(row) :].cpu()


class _Saying:
    """Hears each token from transformers' `generate`, as its streamers do, and says the text as far as it is certain."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, say: Say) -> None:
        self._tokenizer: Final = tokenizer
        self._say: Final = say
        self._heard_prompt = False
        self._tokens: list[int] = []
        self._context, self._said = 0, 0
        """Tokens before the newest that were said, and up to these."""
        self._length = 0
        """Of the text that was said, in characters."""

    def put(self, tokens: torch.Tensor) -> None:
        """Some more tokens; the first of all are the prompt."""
        if not self._heard_prompt:
            self._heard_prompt = True
            return
        self._tokens += tokens.flatten().tolist()
        # Only the last tokens are decoded again, or a text would take the square of its length. Some must be: whether a token
        # begins with a space depends on the one before it, and a character may be made of several, each of which alone is none.
        before = self._decode(self._tokens[self._context : self._said])
        now = self._decode(self._tokens[self._context :])
        if len(now) > len(before) and not now.endswith(_NO_CHARACTER):
            text = now[len(before) :]
            self._say(TextPart(self._length, text))
            self._length += len(text)
            self._context, self._said = self._said, len(self._tokens)

    def end(self) -> None:
        """What was not certain until now is in the result."""

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))


def share_limit(prompt_tokens: int, max_tokens: int, limit: int) -> tuple[int, int]:
    """How many of the prompt's last tokens stay, and how many may be written, so that both fit the limit.

    The answer is guaranteed half of the limit; beyond that the prompt comes first.
    """
    if max_tokens < 1:
        raise BadRequest(f"at least one token must be asked for, not {max_tokens}")
    new = min(max_tokens, max(limit - prompt_tokens, limit // 2))
    return min(prompt_tokens, limit - new), new


def decoder_class(config: PreTrainedConfig) -> Any:  # noqa: ANN401 - transformers' classes share no type
    """The class that loads a checkpoint of this configuration for generation. Models that take pictures, too, write text from
    text alone as well."""
    return AutoModelForCausalLM if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING else AutoModelForImageTextToText
