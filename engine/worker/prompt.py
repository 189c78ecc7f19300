"""What a model is asked to go on with, as tokens: a text as it is, or a conversation in the form that the checkpoint's own chat
template gives it; and whether it fits. A prompt is never cut."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from engine.core.models import Limits
from engine.core.tasks import Generate, Message
from engine.worker.errors import BadRequest, in_short
from engine.worker.tokenizer import ReadText, read_text

_DEFAULT: Final = "default"
"""The template that transformers takes of several when none is named."""


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
        read = read_text(tokenizer, (task.prompt,), limit.tokens, is_cut=False)
    else:
        text = _written_down(tokenizer, task.prompt, task.template)
        read = read_text(tokenizer, (text,), limit.tokens, is_cut=False, has_special=True)
    row = read.tokens
    if not row:
        raise BadRequest("the prompt is empty")
    if read.seen + (1 if task.as_fits else task.max_tokens) > limit.tokens:
        raise _too_long(read, task, limit)
    if max(row) >= vocabulary:
        raise BadRequest(
            f"the prompt has the token {tokenizer.convert_ids_to_tokens(max(row))!r}, number {max(row)}, and the model has"
            f" {vocabulary}: its tokenizer is of another model. Fetch the checkpoint again"
        )
    return row


def _too_long(read: ReadText, task: Generate, limit: Limit) -> BadRequest:
    count = read.seen if read.read_whole else f"over {limit.tokens}"
    left = limit.tokens - read.seen
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
