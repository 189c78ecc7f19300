"""OpenAI's dialect, and Cohere's for ranking: bodies to tasks, results to bodies.

What OpenAI's API knows and is not done here is refused by name and in words; what nobody knows is refused by name. Nothing is
ignored: an application that asks for JSON and gets prose has been lied to.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from engine.answers import TextSoFar, ranked
from engine.api import CannotServe
from engine.core.state import State
from engine.core.tasks import Continuation, Embed, Ended, Generate, Message, Rerank, RunResult, Scores, TextPart
from engine.gateway.dialect import (
    USUAL_TOKENS,
    BadBody,
    Unsupported,
    figures_in,
    kept_tokens,
    rows_as_json,
    still,
    vectors_in,
    written,
)

# ── what is asked ────────────────────────────────────────────────────────────────────────────────


class EmbeddingsBody(Struct, frozen=True):
    model: str
    input: str | list[str | int | list[int]]
    """A text, several, the model's own tokens of one, or of several."""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    truncate: bool = False
    """Ours: cut texts that are too long instead of refusing them."""

    def asked(self) -> Embed:
        """Raises BadBody."""
        given = [self.input] if isinstance(self.input, str) else self.input
        texts = tuple(text for text in given if isinstance(text, str))
        tokens = tuple(tuple(row) for row in given if isinstance(row, list))
        one = tuple(token for token in given if isinstance(token, int))
        if sum(map(bool, (texts, tokens, one))) != 1:
            raise BadBody("input is a text, a list of texts, or tokens of one or of several", "input")
        rows = (one,) if one else tokens
        return Embed(texts, dimensions=self.dimensions, truncate=self.truncate, tokens=rows)


class ContentPart(Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["text"]
    text: str


_None: TypeAlias = Annotated[list[Any], Meta(max_length=0)] | None


class ChatMessage(Struct, frozen=True, forbid_unknown_fields=True):
    role: str
    content: str | list[ContentPart]
    name: str | None = None
    # What answers have, and clients send back with them: here it never holds anything.
    refusal: None = None
    audio: None = None
    function_call: None = None
    tool_calls: _None = None
    annotations: _None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    include_usage: bool = False
    include_obfuscation: bool = False


class Writing(Struct, frozen=True, kw_only=True):
    """What both ways of asking for a text have."""

    model: str
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: str | list[str] = []
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()

    def task(self, prompt: str | tuple[Message, ...], most: int | None) -> Generate:
        """Raises BadBody."""
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        max_tokens = USUAL_TOKENS if most is None else most
        try:
            return Generate(
                prompt,
                max_tokens,
                temperature=self.temperature,
                top_p=self.top_p,
                presence_penalty=self.presence_penalty,
                frequency_penalty=self.frequency_penalty,
                as_fits=most is None,
                seed=self.seed,
                stop=stops,
            )
        except ValueError as error:
            raise BadBody(str(error)) from error


class ChatBody(Writing, frozen=True, kw_only=True):
    messages: list[ChatMessage]
    max_completion_tokens: int | None = None

    def asked(self) -> Generate:
        """Raises BadBody."""
        messages = tuple(Message(message.role, message.text) for message in self.messages)
        most = self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens
        return self.task(messages, most)


class CompletionBody(Writing, frozen=True, kw_only=True):
    prompt: str | list[str]

    def asked(self) -> Generate:
        """Raises BadBody."""
        prompt = self.prompt if isinstance(self.prompt, str) else "".join(self.prompt[:1])
        if isinstance(self.prompt, list) and len(self.prompt) != 1:
            raise BadBody("one prompt a request; send several requests, which run together", "prompt")
        return self.task(prompt, self.max_tokens)


class RerankBody(Struct, frozen=True):
    model: str
    query: str
    documents: list[str | dict[str, Any]]
    top_n: int | None = None
    return_documents: bool = False
    truncate: bool = False

    def texts(self) -> tuple[str, ...]:
        """Raises BadBody."""
        texts = [document if isinstance(document, str) else document.get("text") for document in self.documents]
        if not all(isinstance(text, str) for text in texts):
            raise BadBody('a document is a text, or {"text": …}', "documents")
        return tuple(text for text in texts if isinstance(text, str))

    def asked(self) -> Rerank:
        """Raises BadBody."""
        if self.top_n is not None and self.top_n < 1:
            raise BadBody(f"top_n must be at least 1, not {self.top_n}", "top_n")
        return Rerank(self.query, self.texts(), self.truncate)


# ── what is not done here ────────────────────────────────────────────────────────────────────────

_NO_TOOLS: Final = Unsupported("models here write text, and call nothing", ([],))
_NO_SCORES: Final = Unsupported("scores of tokens are not kept; ask without", (False, 0))
_ONE: Final = Unsupported("one answer a request; send several requests, which run together", (1,))
_NOTHING_KEPT: Final = Unsupported("nothing is kept of a request", (False, {}))
_ANY_TIER: Final = Unsupported("there is one tier", ("auto", "default"))
_ONLY_TEXT: Final = Unsupported("models here write text", (["text"],))
_BY_KEY: Final = Unsupported("requests are known by their key: give each user one of their own (citadel keys add NAME)")

NOT_FOR_EMBEDDINGS: Final = {"user": _BY_KEY}
NOT_FOR_TEXTS: Final = {
    "user": _BY_KEY,
    "n": _ONE,
    "logit_bias": Unsupported("tokens can't be favoured one by one", ({},)),
    "logprobs": _NO_SCORES,
}
NOT_FOR_CHATS: Final = {
    **NOT_FOR_TEXTS,
    "safety_identifier": _BY_KEY,
    "prompt_cache_key": _NOTHING_KEPT,
    "prompt_cache_retention": _NOTHING_KEPT,
    "tools": _NO_TOOLS,
    "tool_choice": Unsupported("models here call nothing", ("none", "auto")),
    "parallel_tool_calls": Unsupported("models here call nothing", (True, False)),
    "functions": _NO_TOOLS,
    "function_call": Unsupported("models here call nothing", ("none", "auto")),
    "response_format": Unsupported(
        "a form can't be forced on a text; ask for it in the prompt, and check", ({"type": "text"},)
    ),
    "top_logprobs": _NO_SCORES,
    "audio": _ONLY_TEXT,
    "modalities": _ONLY_TEXT,
    "prediction": Unsupported("texts are not written from drafts"),
    "reasoning_effort": Unsupported("models here have no such setting", ("none",)),
    "verbosity": Unsupported("models here have no such setting; ask for it in the prompt", ("medium",)),
    "service_tier": _ANY_TIER,
    "store": _NOTHING_KEPT,
    "metadata": _NOTHING_KEPT,
    "web_search_options": Unsupported("models here search nothing"),
}
NOT_FOR_COMPLETIONS: Final = {
    **NOT_FOR_TEXTS,
    "best_of": _ONE,
    "echo": Unsupported("the prompt is not repeated; put it before the answer", (False,)),
    "suffix": Unsupported("texts are written forwards only", ("",)),
}
NOT_FOR_RANKING: Final = {
    "max_chunks_per_doc": Unsupported("documents are not cut into pieces; send the pieces"),
    "max_tokens_per_doc": Unsupported("documents are cut at the model's limit only, with truncate"),
    "rank_fields": Unsupported("a document is one text; put the fields together"),
    "priority": Unsupported("requests are served in turn", (0,)),
}

# ── what is answered ─────────────────────────────────────────────────────────────────────────────


class ModelCard(Struct, frozen=True):
    id: str
    created: int
    owned_by: str = "citadel"
    object: Literal["model"] = "model"


class ModelList(Struct, frozen=True):
    data: list[ModelCard]
    object: Literal["list"] = "list"


class Usage(Struct, frozen=True):
    prompt_tokens: int
    total_tokens: int
    completion_tokens: int | UnsetType = UNSET


class Embedding(Struct, frozen=True):
    index: int
    embedding: list[float] | bytes
    """Figures, or little-endian float32, which JSON has as base64."""
    object: Literal["embedding"] = "embedding"


class EmbeddingList(Struct, frozen=True):
    data: list[Raw]
    """An `Embedding` each."""
    model: str
    usage: Usage
    object: Literal["list"] = "list"


FinishReason: TypeAlias = Literal["stop", "length"]
_FINISH: Final[dict[Ended, FinishReason]] = {"eos": "stop", "stop": "stop", "length": "length"}


class Said(Struct, frozen=True):
    """A message, or what a part adds to it."""

    content: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    refusal: UnsetType | None = UNSET


class Choice(Struct, frozen=True):
    index: int = 0
    message: Said | UnsetType = UNSET
    delta: Said | UnsetType = UNSET
    text: str | UnsetType = UNSET
    logprobs: None = None
    finish_reason: FinishReason | None = None


class Completion(Struct, frozen=True):
    """A whole answer, or a part of one."""

    id: str
    object: Literal["chat.completion", "chat.completion.chunk", "text_completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | UnsetType | None = UNSET
    system_fingerprint: UnsetType | None = UNSET


class RankedItem(Struct, frozen=True):
    index: int
    relevance_score: float
    document: dict[str, str] | UnsetType = UNSET


class RankedTokens(Struct, frozen=True):
    input_tokens: int


class RankingMeta(Struct, frozen=True):
    tokens: RankedTokens


class Ranking(Struct, frozen=True):
    id: str
    model: str
    results: list[RankedItem]
    usage: Usage
    meta: RankingMeta


def model_list(state: State, started_s: float) -> ModelList:
    """The catalog."""
    return ModelList([ModelCard(model, int(started_s)) for model in state.models])


async def embeddings_of(ran: RunResult, body: EmbeddingsBody) -> EmbeddingList:
    """Vectors as figures or as bytes. Raises CannotServe for a run that made none."""
    as_bytes = body.encoding_format == "base64"
    data = await rows_as_json(
        vectors_in(ran), lambda number, row: Embedding(number, row if as_bytes else figures_in(row))
    )
    tokens = kept_tokens(ran)
    return EmbeddingList(data, ran.model, Usage(tokens, tokens))


def ranking_of(ran: RunResult, body: RerankBody, texts: tuple[str, ...]) -> Ranking:
    """Documents by their scores, the best first. Raises CannotServe for a run that scored none."""
    if not isinstance(ran.result, Scores):
        raise CannotServe(f"{ran.model} ranked nothing")
    items = [
        RankedItem(one.document, one.score, {"text": texts[one.document]} if body.return_documents else UNSET)
        for one in ranked(ran.result)[: body.top_n]
    ]
    tokens = kept_tokens(ran)
    return Ranking(_id("rerank"), ran.model, items, Usage(tokens, tokens), RankingMeta(RankedTokens(tokens)))


class Page:
    """One answer of a model that writes, whole or as the chunks of a stream, which share their head."""

    def __init__(self, model: str, created_s: float, *, is_chat: bool, has_usage: bool) -> None:
        self._head: Final = (_id("chatcmpl" if is_chat else "cmpl"), int(created_s), model)
        self._is_chat: Final = is_chat
        self._has_usage: Final = has_usage
        self._so_far: Final = TextSoFar()
        self._begun = False

    def whole(self, ran: RunResult) -> Completion:
        """Raises CannotServe for a run that wrote nothing."""
        wrote = written(ran)
        finish = _FINISH[wrote.ended]
        if self._is_chat:
            said = Said(wrote.text, "assistant", None)
            return self._made("chat.completion", [Choice(message=said, finish_reason=finish)], _usage(wrote))
        return self._made("text_completion", [Choice(text=wrote.text, finish_reason=finish)], _usage(wrote))

    def chunk(self, part: TextPart) -> Completion | None:
        """What the part adds; None where that is nothing. Raises CannotServe."""
        new = still(self._so_far.add(part))
        return self._chunk(new) if new else None

    def last_chunks(self, ran: RunResult) -> list[Completion]:
        """The rest of the text, why it ended, and what it took, where that was asked for. Raises CannotServe."""
        wrote = written(ran)
        chunks = [self._chunk(still(self._so_far.end(wrote.text)), _FINISH[wrote.ended])]
        if self._has_usage:
            chunks.append(self._made(self._kind, [], _usage(wrote)))
        return chunks

    @property
    def _kind(self) -> Literal["chat.completion.chunk", "text_completion"]:
        return "chat.completion.chunk" if self._is_chat else "text_completion"

    def _chunk(self, text: str, finish: FinishReason | None = None) -> Completion:
        role = UNSET if self._begun else "assistant"
        self._begun = True
        if self._is_chat:
            choice = Choice(delta=Said(text, role), finish_reason=finish)
        else:
            choice = Choice(text=text, finish_reason=finish)
        return self._made(self._kind, [choice], None if self._has_usage else UNSET)

    def _made(
        self,
        kind: Literal["chat.completion", "chat.completion.chunk", "text_completion"],
        choices: list[Choice],
        usage: Usage | UnsetType | None,
    ) -> Completion:
        number, created, model = self._head
        return Completion(number, kind, created, model, choices, usage)


def _usage(wrote: Continuation) -> Usage:
    return Usage(wrote.prompt_tokens, wrote.prompt_tokens + wrote.tokens, wrote.tokens)


def _id(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex}"
