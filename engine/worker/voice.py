"""What is said of the tokens that a model writes: the text as far as it is certain, up to the stop string or the token that ends
it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from transformers import PreTrainedTokenizerBase

from engine.core.tasks import TextPart
from engine.worker.errors import BadRequest
from engine.worker.running import Say
from engine.worker.text_stream import TextStream


class OwnStops:
    """Looks for the checkpoint's own stop strings as transformers does: they may begin in the prompt, and belong to the text."""

    def __init__(self, stops: Sequence[str], before: str) -> None:
        """`before`: the end of the prompt's text."""
        self._stops: Final = stops
        self._tail = before

    def found_with(self, text: str) -> str:
        """The stop string that ends in what is written next; empty where none does."""
        for stop in self._stops:
            begun = self._tail[max(0, len(self._tail) - len(stop) + 1) :]
            if stop in begun + text:
                return stop
        self._tail = (self._tail + text)[-longest_text(self._stops) :]
        return ""


class Voice:
    """Says a text as far as it is certain, token by token, until a stop string or one of the tokens that end it."""

    def __init__(self, stream: TextStream, ends: Mapping[int, str], own: OwnStops, say: Say) -> None:
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


def longest_text(texts: Sequence[str]) -> int:
    """Of how many characters the longest is; 1 where there is none."""
    return max(map(len, texts), default=1)


def ending_tokens(tokenizer: PreTrainedTokenizerBase, stops: tuple[str, ...]) -> dict[int, str]:
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
