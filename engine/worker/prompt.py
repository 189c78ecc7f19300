"""What a model is asked to go on with, as tokens: a text as it is, or a conversation in the form that the checkpoint's own chat
template gives it; and whether it fits. A prompt is never cut."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from engine.core.models import Limits
from engine.core.tasks import Generate, Message
from engine.worker.errors import BadRequest, in_short

_DEFAULT: Final = "default"
"""The template that transformers takes of several when none is named."""
_LONGEST_TOKEN: Final = 64
"""Characters, generously: a text with more than so many for each token that fits is read as far as it takes to see that it is too
long."""
_BORDER_TOKENS: Final = 64
"""So many tokens may the end of a text that was cut there have more than the whole has up to there."""


class Limit(Struct, frozen=True):
    """How many tokens prompt and answer may have together."""

    tokens: int
    source: str
    """Who says so, and what to do about it."""


def limit_of(tokenizer: PreTrainedTokenizerBase, limits: Limits, config: PreTrainedConfig) -> Limit:
    """The lowest of what catalog, tokenizer and positions allow."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    own = [
        (int(tokenizer.model_max_length), "the tokenizer's model_max_length"),
        *([(positions, "the positions of its config.json")] if isinstance(positions, int) and positions > 0 else []),
    ]
    tokens, source = min(own, key=lambda limit: limit[0])
    if limits.max_sequence < tokens:
        return Limit(limits.max_sequence, "limits.max_sequence in the catalog, which may be raised")
    return Limit(tokens, source)


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, task: Generate, limit: Limit, vocabulary: int) -> list[int]:
    """The prompt's tokens, with room behind them for what was asked for. Raises BadRequest."""
    if isinstance(task.prompt, str):
        row = _tokens(tokenizer, task.prompt, task, limit, is_whole=False)
    else:
        row = _tokens(tokenizer, _written_down(tokenizer, task.prompt, task.template), task, limit, is_whole=True)
    if not row:
        raise BadRequest("the prompt is empty")
    if len(row) + task.max_tokens > limit.tokens:
        raise _too_long(str(len(row)), len(row), task, limit)
    if max(row) >= vocabulary:
        raise BadRequest(
            f"the prompt has the token {tokenizer.convert_ids_to_tokens(max(row))!r}, number {max(row)}, and the model has"
            f" {vocabulary}: its tokenizer is of another model. Fetch the checkpoint again"
        )
    return row


def _tokens(
    tokenizer: PreTrainedTokenizerBase, text: str, task: Generate, limit: Limit, *, is_whole: bool
) -> list[int]:
    """`is_whole`: the text has the special tokens already."""
    begun = text[: _LONGEST_TOKEN * (limit.tokens + _BORDER_TOKENS)]
    row: list[int] = tokenizer(begun, add_special_tokens=not is_whole, verbose=False)["input_ids"]
    if len(begun) == len(text):
        return row
    if len(row) > limit.tokens + _BORDER_TOKENS:
        raise _too_long(f"over {limit.tokens}", limit.tokens, task, limit)
    whole: list[int] = tokenizer(text, add_special_tokens=not is_whole, verbose=False)["input_ids"]
    return whole


def _too_long(count: str, tokens: int, task: Generate, limit: Limit) -> BadRequest:
    left = limit.tokens - tokens
    room = f"ask for at most {left} (--max-tokens), or shorten the prompt" if left > 0 else "shorten the prompt"
    return BadRequest(
        f"the prompt has {count} tokens and up to {task.max_tokens} are to be written, but the model takes {limit.tokens} in all"
        f" (by {limit.source}); nothing was cut or written: {room}"
    )


def _written_down(tokenizer: PreTrainedTokenizerBase, messages: tuple[Message, ...], name: str) -> str:
    """The conversation as one text, up to where the model is to answer."""
    templates = _templates(tokenizer)
    chosen = name or (_DEFAULT if len(templates) != 1 else next(iter(templates)))
    if not templates:
        raise BadRequest(
            "it has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json), so that it can't be given"
            " messages; give it a raw prompt"
        )
    if chosen not in templates:
        has = f"it has the chat templates {', '.join(sorted(templates))}"
        raise BadRequest(f"{has}, but none named {name}" if name else f"{has}; name one (--template)")
    conversation = [{"role": message.role, "content": message.content} for message in messages]
    try:
        text = tokenizer.apply_chat_template(
            conversation, chat_template=templates[chosen], tokenize=False, add_generation_prompt=True
        )
    except Exception as error:  # a template is a program of the checkpoint's, and may raise anything
        raise BadRequest(
            f"its chat template refuses these messages: {in_short(error) or type(error).__name__}"
        ) from error
    return str(text)


def _templates(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """By name; one alone is the default."""
    own = tokenizer.chat_template
    return own if isinstance(own, dict) else {_DEFAULT: own} if own else {}
