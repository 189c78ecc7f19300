"""A text that is being written: how each of its tokens is picked, from the scores that the model has for it, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from msgspec import Struct
from transformers import LogitsProcessorList, StoppingCriteriaList

from engine.core.tasks import Continuation, Ended, Generate
from engine.weights.errors import BadCheckpoint
from engine.worker.errors import in_short
from engine.worker.lanes import Asked
from engine.worker.next_token import NotNumbers
from engine.worker.voice import Voice

FROM_FILES: Final = "generation_config.json, or config.json where there is none"
"""Where a checkpoint's settings for writing are."""


class Recipe(Struct, frozen=True):
    """How `generate` would write a text."""

    processors: LogitsProcessorList
    criteria: StoppingCriteriaList
    can_share: bool
    """Whether its steps may be those of others, too; else it is written by `generate` itself."""
    rows: int
    """Of keys and values that it takes: as many as beams."""


class Writing:
    """One text, from the moment when its prompt is known."""

    def __init__(
        self,
        asked: Asked,
        task: Generate,
        prompt: list[int],
        recipe: Recipe,
        new_voice: Callable[[], Voice],
        *,
        seed: int | None,
        eos: frozenset[int],
    ) -> None:
        self.asked: Final = asked
        self.task: Final = task
        self.prompt: Final = prompt
        self.recipe: Final = recipe
        self.seed: Final = seed
        self.longest: Final = len(prompt) + task.max_tokens
        """Tokens that it may have in the end, prompt included."""
        self._new_voice: Final = new_voice
        self._eos: Final = eos
        self._tokens: Any = None
        self.voice = new_voice()
        self.written: list[int] = []
        self.device_s = 0.0
        self.is_left = False

    @property
    def length(self) -> int:
        """Tokens so far, prompt included."""
        return len(self.prompt) + self.voice.tokens

    def begin_anew(self) -> None:
        """Its first try came to nothing."""
        self.voice = self._new_voice()

    def take(self, scores: torch.Tensor) -> bool:
        """Picks the next token as `generate` does, and has it said; whether it was the last. `scores`: one row. Raises
        BadCheckpoint."""
        with as_the_settings_ask(self.voice):
            tokens, length = self._room(scores.device), self.length
            own: Any = scores.float().clone()  # some processors write to it
            processed = self.recipe.processors(tokens[:, :length], own)
            token = int(processed.argmax(dim=-1))
            tokens[0, length] = token
            self.written.append(token)
            self.voice.hear([token])
            is_done = bool(self.recipe.criteria(tokens[:, : length + 1], None).all()) or self.voice.stop != ""
        if is_done:
            self.voice.end()
        return is_done

    def continuation(self) -> Continuation:
        """The result, once it has ended."""
        voice = self.voice
        return Continuation(voice.text, voice.tokens, self._ended(), voice.stop, len(self.prompt), self.seed)

    def _ended(self) -> Ended:
        if self.voice.stop:
            return "stop"
        return "eos" if self.written and self.written[-1] in self._eos else "length"

    def _room(self, device: torch.device) -> Any:  # noqa: ANN401 - a tensor, by another name in transformers
        """For all tokens, of which each processor sees those so far."""
        if self._tokens is None:
            self._tokens = torch.tensor([self.prompt + [0] * self.task.max_tokens], device=device)
        return self._tokens


@contextmanager
def as_the_settings_ask(voice: Voice | None = None) -> Iterator[None]:
    """What transformers raises inside, doing what a checkpoint's settings ask for, becomes a BadCheckpoint."""
    try:
        yield
    except NotNumbers as error:
        raise BadCheckpoint(f"after {voice.tokens if voice else 0} tokens {error}") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise BadCheckpoint(
            f"transformers can't write as its settings ask ({FROM_FILES}): {in_short(error) or type(error).__name__}"
        ) from error
