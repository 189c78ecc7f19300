"""A prompt to its greedy continuation, within the model's limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from engine.core.models import Limits
from engine.worker.errors import BadRequest
from engine.worker.running import HOST_RUNS, RunMemory, once_more
from engine.worker.tokenizer import longest_input


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
    def generate(self, prompt: str, max_tokens: int) -> tuple[str, int, float]:
        """What the model writes, how many tokens that is, and how much of a row's limit it filled with its prompt, 0 to 1."""
        row: list[int] = self._tokenizer(prompt)["input_ids"]
        if not row:
            raise BadRequest("the prompt is empty")
        limit = longest_input(self._tokenizer, self._limits)
        kept, new = share_limit(len(row), max_tokens, limit)
        written = once_more(lambda: self._continue(row[-kept:], new), self._memory)
        if written is None:
            raise self._memory.shortage(1)
        text = str(self._tokenizer.decode(written, skip_special_tokens=True))
        return text, len(written), min(1.0, (kept + len(written)) / limit)

    def _continue(self, row: list[int], new: int) -> torch.Tensor:
        tokens = torch.tensor([row], device=self._module.device)
        answer = self._generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=new,
            do_sample=False,
            pad_token_id=self._tokenizer.pad_token_id,
        )
        return answer[0, len(row) :].cpu()


def share_limit(prompt_tokens: int, max_tokens: int, limit: int) -> tuple[int, int]:
    """How many of the prompt's last tokens stay, and how many may be written, so that both fit the limit.

    The answer is guaranteed half of the limit; beyond that the prompt comes first.
    """
    if max_tokens < 1:
        raise BadRequest(f"at least one token must be asked for, not {max_tokens}")
    new = min(max_tokens, max(limit - prompt_tokens, limit // 2))
    return min(prompt_tokens, limit - new), new
