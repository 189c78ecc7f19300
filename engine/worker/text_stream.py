"""The text of tokens as they come: what was given out never changes, and all of it together is the whole text, up to a stop
string. One stream makes both, the text that is said meanwhile and the one of the result, so that they are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from transformers import PreTrainedTokenizerBase

_UNFINISHED: Final = "\N{REPLACEMENT CHARACTER}"
"""What bytes are decoded to that are no whole character yet."""
_MAY_BE_TIDIED: Final = " 'nvr"
"""The characters after which tidying spaces may still take one away, the longest being that of `'ve`."""


class TextStream:
    """Some tokens are decoded twice, with and without the newest, because how a token reads depends on those before it:
    sentencepiece drops the first one's space, and a character may be made of several tokens, each of which alone is none.
    Only the last ones are, or a text would take the square of its length."""

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        stops: Sequence[str] = (),
        tidy: Callable[[str], str] | None = None,
    ) -> None:
        """`decode` must leave spaces as they are: `tidy` has the sole right to take some away."""
        self._decode: Final = decode
        self._tidy: Final = tidy
        self._stops: Final = stops
        self._tokens: list[int] = []
        self._context, self._read = 0, 0
        """Tokens before the newest that were read, and up to these."""
        self._untidied = ""
        self._held = ""
        """The end of the text, which may be the beginning of a stop string."""
        self.stop: str | None = None
        """The stop string that ended the text."""

    def add(self, token: int) -> str:
        """What is certain now and was not before."""
        self._tokens.append(token)
        before = self._decode(self._tokens[self._context : self._read])
        now = self._decode(self._tokens[self._context :])
        if now.endswith(_UNFINISHED) or len(now) <= len(before):
            return ""
        self._context, self._read = self._read, len(self._tokens)
        return self._stopped(self._tidied(now[len(before) :], is_last=False), is_last=False)

    def end(self) -> str:
        """The rest, once the last token has come."""
        before = self._decode(self._tokens[self._context : self._read])
        rest = self._decode(self._tokens[self._context :])[len(before) :]
        return self._stopped(self._tidied(rest, is_last=True), is_last=True)

    def _tidied(self, text: str, *, is_last: bool) -> str:
        if self._tidy is None:
            return text
        text = self._untidied + text
        certain = len(text if is_last else text.rstrip(_MAY_BE_TIDIED))
        self._untidied = text[certain:]
        return self._tidy(text[:certain])

    def _stopped(self, text: str, *, is_last: bool) -> str:
        if self.stop is not None:
            return ""
        text = self._held + text
        found = [(at, -len(stop), stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            at, _, self.stop = min(found)
            return text[:at]
        held = 0 if is_last else max((_overlap(text, stop) for stop in self._stops), default=0)
        certain = len(text) - held
        self._held = text[certain:]
        return text[:certain]


def _overlap(text: str, stop: str) -> int:
    """How many of the text's last characters may be the beginning of the stop string."""
    most = min(len(stop) - 1, len(text))
    return next((length for length in range(most, 0, -1) if text.endswith(stop[:length])), 0)


def text_stream(tokenizer: PreTrainedTokenizerBase, stops: Sequence[str] = ()) -> TextStream:
    """A stream whose whole text is what the tokenizer's `decode` makes of all tokens, without the special ones."""

    def decode(tokens: list[int]) -> str:
        return str(tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    return TextStream(decode, stops, tokenizer.clean_up_tokenization if _tidies(tokenizer) else None)


def _tidies(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether its `decode` takes spaces away before punctuation. Of byte pairs it does not, whatever its files say."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    is_bpe = type(getattr(backend, "model", None)).__name__ == "BPE"
    insists = tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
    return bool(tokenizer.clean_up_tokenization_spaces and (insists or not is_bpe))
