"""Ollama's dialect: bodies to tasks, results to bodies.

`model` may have a tag behind it, as Ollama's names have; only `:latest` means something here. What Ollama's API knows and is not
done here is refused by name and in words.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import fields, replace

from engine.answers import TextSoFar
from engine.api import Snapshot
from engine.core.boxes import is_heard
from engine.core.names import is_cpu
from engine.core.state import ModelState, State, leaves_at_s
from engine.core.tasks import Embed, Ended, Generate, Message, RunResult, TextPart
from engine.gateway.dialect import (
    USUAL_TOKENS,
    BadBody,
    Unsupported,
    figures_in,
    kept_tokens,
    quoted,
    rows_as_json,
    still,
    vectors_in,
    written,
)
from engine.version import VERSION

_SPAN: Final = re.compile(r"(-?\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(keep_alive: float | str) -> float | None:
    """Of a `keep_alive`: a number of seconds, or a span such as `5m` or `1h30m`; None, for ever, for a negative one. Raises
    BadBody."""
    if isinstance(keep_alive, str):
        spans = [("0", "s")] if keep_alive == "0" else _SPAN.findall(keep_alive)
        if keep_alive != "0" and ("".join(number + unit for number, unit in spans) != keep_alive or not spans):
            raise BadBody(f'keep_alive is seconds or a span such as "5m", not {quoted(keep_alive)}', "keep_alive")
        keep_alive = sum(float(number) * _SECONDS[unit] for number, unit in spans)
    return None if keep_alive < 0 else keep_alive


# ── what is asked ────────────────────────────────────────────────────────────────────────────────


class Options(Struct, frozen=True, kw_only=True):
    """How a model writes; those that have a meaning here."""

    num_predict: int = -1
    """Negative: the usual number; Ollama writes without end."""
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: str | list[str] = []
    repeat_penalty: float | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    num_ctx: int | None = None
    """Of no account: a model reads as much as its limit allows, and a longer prompt is refused, not cut."""
    num_keep: int | None = None
    """Of no account: nothing is cut."""

    def task(self, prompt: str | tuple[Message, ...]) -> Generate:
        """Raises BadBody."""
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        try:
            return Generate(
                prompt,
                USUAL_TOKENS if self.num_predict < 0 else self.num_predict,
                temperature=self.temperature,
                top_k=self.top_k,
                top_p=self.top_p,
                min_p=self.min_p,
                seed=self.seed,
                stop=stops,
                repetition_penalty=self.repeat_penalty,
                presence_penalty=self.presence_penalty,
                frequency_penalty=self.frequency_penalty,
                as_fits=self.num_predict < 0,
            )
        except ValueError as error:
            raise BadBody(str(error), "options") from error


class Asking(Struct, frozen=True, kw_only=True):
    """What every request for a model has."""

    model: str
    keep_alive: float | str | None = None


class VectorOptions(Struct, frozen=True, kw_only=True):
    """Those that have a meaning for vectors: none has more than that of `Options`."""

    num_ctx: int | None = None


class EmbedBody(Asking, frozen=True, kw_only=True):
    options: dict[str, Any] = {}
    input: str | list[str]
    truncate: bool = True
    dimensions: int | None = None

    def asked(self) -> Embed:
        texts = (self.input,) if isinstance(self.input, str) else tuple(self.input)
        return Embed(texts, dimensions=self.dimensions, truncate=self.truncate)


class OneEmbeddingBody(Asking, frozen=True, kw_only=True):
    options: dict[str, Any] = {}
    prompt: str = ""


class GenerateBody(Asking, frozen=True, kw_only=True):
    prompt: str = ""
    system: str = ""
    raw: bool = False
    stream: bool = True
    options: dict[str, Any] = {}

    def asked(self, options: Options) -> Generate:
        """Raises BadBody."""
        if self.raw:
            if self.system:
                raise BadBody("raw goes on with the prompt as it is, and system would come before it", "system")
            return options.task(self.prompt)
        system = (Message("system", self.system),) if self.system else ()
        return options.task((*system, Message("user", self.prompt)))


class OllamaMessage(Struct, frozen=True, forbid_unknown_fields=True):
    role: str
    content: str = ""


class OllamaChatBody(Asking, frozen=True, kw_only=True):
    messages: list[OllamaMessage] = []
    stream: bool = True
    options: dict[str, Any] = {}

    def asked(self, options: Options) -> Generate:
        """Raises BadBody."""
        return options.task(tuple(Message(message.role, message.content) for message in self.messages))


class ShowBody(Struct, frozen=True):
    model: str = ""
    name: str = ""
    """As it was called before `model`."""


# ── what is not done here ────────────────────────────────────────────────────────────────────────

_NO_TOOLS: Final = Unsupported("models here write text, and call nothing", ([],))
_NO_FORM: Final = Unsupported("a form can't be forced on a text; ask for it in the prompt, and check", ("",))
_NO_THOUGHT: Final = Unsupported("models here have no such setting", (False,))
_NO_PICTURES: Final = Unsupported("models here read text", ([],))
_OF_THE_BOX: Final = "where models go is the operator's, and the policy's"

NOT_FOR_OLLAMA_CHATS: Final = {
    "tools": _NO_TOOLS,
    "format": _NO_FORM,
    "think": _NO_THOUGHT,
    "logprobs": Unsupported("scores of tokens are not kept", (False,)),
    "top_logprobs": Unsupported("scores of tokens are not kept", (0,)),
}
NOT_FOR_OLLAMA_TEXTS: Final = {
    **NOT_FOR_OLLAMA_CHATS,
    "images": _NO_PICTURES,
    "suffix": Unsupported("texts are written forwards only", ("",)),
    "template": Unsupported("the checkpoint's own chat template is used; send raw for none", ("",)),
    "context": Unsupported("nothing is kept of a request; send the conversation to /api/chat", ([],)),
}
NOT_AMONG_OPTIONS: Final = {
    "repeat_last_n": Unsupported("the penalty is on all that was written"),
    "tfs_z": Unsupported("drawing has temperature, top_k, top_p and min_p", (1, 1.0)),
    "typical_p": Unsupported("drawing has temperature, top_k, top_p and min_p", (1, 1.0)),
    "mirostat": Unsupported("drawing has temperature, top_k, top_p and min_p", (0,)),
    "mirostat_tau": Unsupported("drawing has temperature, top_k, top_p and min_p"),
    "mirostat_eta": Unsupported("drawing has temperature, top_k, top_p and min_p"),
    "penalize_newline": Unsupported("the penalty is on all tokens"),
    **dict.fromkeys(("num_gpu", "main_gpu", "num_thread", "numa", "low_vram"), Unsupported(_OF_THE_BOX)),
    **dict.fromkeys(("num_batch", "use_mmap", "use_mlock", "vocab_only"), Unsupported(_OF_THE_BOX)),
}

NOT_AMONG_VECTOR_OPTIONS: Final = NOT_AMONG_OPTIONS | dict.fromkeys(
    (field.name for field in fields(Options) if field.name != "num_ctx"), Unsupported("it has no meaning for vectors")
)

# ── what is answered ─────────────────────────────────────────────────────────────────────────────


class Details(Struct, frozen=True):
    family: str
    quantization_level: str
    format: str = "safetensors"


class Tag(Struct, frozen=True):
    """A model of the catalog."""

    name: str
    model: str
    size: int
    details: Details
    digest: str | UnsetType = UNSET
    """Of its weights, where the catalog knows it."""


class Loaded(Tag, frozen=True, kw_only=True):
    """A model that is ready."""

    expires_at: datetime
    size_vram: int
    device: str
    since: datetime


class Shown(Struct, frozen=True):
    details: Details
    capabilities: list[str]
    model_info: dict[str, Any]
    parameters: str = ""
    modelfile: str = ""
    template: str = ""


class Vector(Struct, frozen=True):
    embedding: list[float]


class VectorRows(Struct, frozen=True):
    model: str
    embeddings: list[Raw]
    """A list of figures each."""
    total_duration: int
    load_duration: int
    prompt_eval_count: int


DoneReason: TypeAlias = Literal["stop", "length", "load", "unload"]
_DONE: Final[dict[Ended, DoneReason]] = {"eos": "stop", "stop": "stop", "length": "length"}


class Written(Struct, frozen=True, kw_only=True):
    """A line of a text, or all of it."""

    model: str
    created_at: datetime
    response: str | UnsetType = UNSET
    message: dict[str, str] | UnsetType = UNSET
    done: bool = False
    done_reason: DoneReason | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET


VERSION_BODY: Final = {"version": VERSION}


def tags_of(state: State) -> dict[str, list[Tag]]:
    """The catalog."""
    return {"models": [_tag(known) for known in state.models.values()]}


def loaded_of(snapshot: Snapshot) -> dict[str, list[Loaded]]:
    """The models that are ready, each with where it is and until when."""
    state, loaded = snapshot.state, []
    for resident in state.residents:
        if resident.stage != "ready" or not is_heard(snapshot.boxes, resident.device):
            continue
        tag, size = _tag(state.models[resident.model]), resident.footprint.total_bytes
        until_s = leaves_at_s(state, resident)
        loaded.append(
            Loaded(
                tag.name,
                tag.model,
                size,
                tag.details,
                tag.digest,
                expires_at=_NEVER if until_s is None else datetime.fromtimestamp(until_s, UTC),
                size_vram=0 if is_cpu(resident.device) else size,
                device=resident.device,
                since=datetime.fromtimestamp(resident.since_s, UTC),
            )
        )
    return {"models": loaded}


def shown_of(known: ModelState) -> Shown:
    """What the catalog says of a model."""
    spec = known.spec
    capability = {"embedding": "embedding", "generation": "completion", "rerank": "rerank", "classify": "classify"}
    about = {
        "general.architecture": spec.task,
        "citadel.source": known.source,
        "citadel.synthetic": known.synthetic,
        "citadel.max_sequence": spec.limits.max_sequence,
        "citadel.max_batch": spec.limits.max_batch,
        "citadel.device_bytes": known.footprint.total_bytes,
    }
    return Shown(_details(known), [capability[spec.task]], about)


async def rows_of(ran: RunResult) -> VectorRows:
    """Raises CannotServe for a run that made no vectors."""
    rows = await rows_as_json(vectors_in(ran), lambda _, row: figures_in(row))
    return VectorRows(ran.model, rows, _ns(ran.seconds), _ns(ran.loaded_s or 0.0), kept_tokens(ran))


def first_vector(ran: RunResult) -> Vector:
    """Raises CannotServe for a run that made no vectors."""
    return Vector(vectors_in(ran).rows()[0])


class LinePage:
    """A text, whole or line by line."""

    def __init__(self, model: str, *, is_chat: bool) -> None:
        self._model: Final = model
        self._is_chat: Final = is_chat
        self._so_far: Final = TextSoFar()

    def line(self, part: TextPart) -> Written | None:
        """What the part adds; None where that is nothing. Raises CannotServe."""
        new = still(self._so_far.add(part))
        return self._said(new) if new else None

    def last(self, ran: RunResult, *, is_whole: bool) -> Written:
        """The rest of the text, or all of it, and what there is to say of it. Raises CannotServe."""
        wrote = written(ran)
        text = wrote.text if is_whole else still(self._so_far.end(wrote.text))
        loaded_s = ran.loaded_s or 0.0
        return replace(
            self._said(text),
            done=True,
            done_reason=_DONE[wrote.ended],
            total_duration=_ns(ran.seconds),
            load_duration=_ns(loaded_s),
            prompt_eval_count=wrote.prompt_tokens,
            eval_count=wrote.tokens,
            eval_duration=_ns(ran.seconds - loaded_s),
        )

    def empty(self, reason: Literal["load", "unload"]) -> Written:
        """The answer to a request without a prompt, which brings the model or lets it go."""
        return replace(self._said(""), done=True, done_reason=reason)

    def _said(self, text: str) -> Written:
        at = datetime.now(UTC)
        if self._is_chat:
            return Written(model=self._model, created_at=at, message={"role": "assistant", "content": text})
        return Written(model=self._model, created_at=at, response=text)


_NEVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Ollama's clients want a date."""


def _tag(known: ModelState) -> Tag:
    spec = known.spec
    return Tag(spec.name, spec.name, known.footprint.weights_bytes, _details(known), spec.sha256 or UNSET)


def _details(known: ModelState) -> Details:
    return Details(known.spec.task, known.spec.dtype)


def _ns(seconds: float) -> int:
    return round(max(0.0, seconds) * 1e9)
