"""What the dialects share: a body read strictly, parts of a text put together, and what is told of a run beside its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec
from msgspec import Raw, Struct

from engine.api import CannotServe
from engine.core.near_misses import nearest
from engine.core.serialization import Undecodable, converted, from_json, to_json
from engine.core.tasks import Continuation, LabelScores, RunResult, Scores, TextTokens, Vectors

USUAL_TOKENS: Final = 256
"""How much is written where a request does not say; OpenAI writes as much as fits, which holds up everybody else."""
FIGURES_A_TURN: Final = 1 << 15
"""Made JSON of in one turn of the loop: some milliseconds."""
FACT_PREFIX: Final = "Citadel-"
"""Of the headers that say how a request fared."""
_T = TypeVar("_T", bound=Struct)
_LONGEST_NAME: Final = 100


class BadBody(Exception):
    """The body asks for what can't be meant, or for what is not done here; says which field, and what to do."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Unsupported(Struct, frozen=True):
    """A field that the dialect has, and that is not carried out here."""

    why: str
    harmless: tuple[object, ...] = ()
    """The values, beside none, with which it asks for nothing."""


def read_body(body: bytes, kind: type[_T], unsupported: Mapping[str, Unsupported]) -> _T:
    """The body as a `kind`. Fields that are null count as left out.

    Raises BadBody: for what is no JSON, for a field that nobody knows, by its name, and in words for one that asks for what is
    not done here.
    """
    try:
        fields = from_json(body)
    except Undecodable as error:
        raise BadBody(f"the body is no JSON that can be read: {error}") from error
    if not isinstance(fields, dict):
        raise BadBody("the body must be a JSON object")
    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    wanted = {name: value for name, value in fields.items() if value is not None}
    for name in [name for name in wanted if name not in known]:
        if name not in unsupported:
            close = nearest(name, (*known, *unsupported))
            raise BadBody(f"the field {quoted(name)} is not known{did_you_mean(close)}", name[:_LONGEST_NAME])
        if wanted.pop(name) not in unsupported[name].harmless:
            raise BadBody(f"{name} is not supported: {unsupported[name].why}", name)
    try:
        return converted(wanted, kind)
    except Undecodable as error:
        raise BadBody(f"the body can't be meant: {error}", _field_in(str(error))) from error


def _field_in(said: str) -> str | None:
    """The field of the body that an error of msgspec's is about: it ends in "at `$.field[0].key`"."""
    _, found, path = said.rpartition("`$.")
    return path.rstrip("`").partition("[")[0].partition(".")[0] if found else None


def still(new: str | None) -> str:
    """What `TextSoFar` has found to be new. Raises CannotServe where the text became another one: no stream takes that back."""
    if new is None:
        raise CannotServe("the run began anew on another device and wrote another text there; ask again")
    return new


def tokens_of(ran: RunResult) -> tuple[TextTokens, ...]:
    """What was read of each row; nothing for a run that writes."""
    match ran.result:
        case Vectors(tokens=tokens) | Scores(tokens=tokens) | LabelScores(tokens=tokens):
            return tokens
        case Continuation():
            return ()


def kept_tokens(ran: RunResult) -> int:
    """Tokens that the model read."""
    return sum(tokens.kept for tokens in tokens_of(ran))


def vectors_in(ran: RunResult) -> Vectors:
    """Raises CannotServe for a run that made none."""
    if not isinstance(ran.result, Vectors):
        raise CannotServe(f"{ran.model} made no vectors")
    return ran.result


async def rows_as_json(made: Vectors, said: Callable[[int, bytes], object]) -> list[Raw]:
    """What `said` makes of each row, from its number and figures, as JSON; in many turns of the loop, since millions of figures
    take seconds."""
    width, encoded = 4 * made.dimensions, []
    for number, start in enumerate(range(0, len(made.figures), width)):
        encoded.append(Raw(to_json(said(number, made.figures[start : start + width]))))
        if (number + 1) % max(1, FIGURES_A_TURN // made.dimensions) == 0:
            await asyncio.sleep(0)
    return encoded


def figures_in(row: bytes) -> list[float]:
    """A row as numbers."""
    return Vectors(len(row) // 4, row).rows()[0]


def written(ran: RunResult) -> Continuation:
    """Raises CannotServe for a run that wrote nothing."""
    if not isinstance(ran.result, Continuation):
        raise CannotServe(f"{ran.model} wrote nothing")
    return ran.result


def facts_of(ran: RunResult) -> dict[str, str]:
    """Headers: where it ran, how long it took, and what else an application should know."""
    facts = {"Device": ran.device, "Seconds": f"{ran.seconds:.4f}"}
    if cut := sum(tokens.is_cut for tokens in tokens_of(ran)):
        facts["Cut-Texts"] = str(cut)
    if ran.loaded_s is not None:
        facts["Loaded-Seconds"] = f"{ran.loaded_s:.4f}"
    if ran.fallback:
        facts["Fallback"] = ran.fallback
    if ran.synthetic:
        facts["Synthetic"] = "true"
    return {FACT_PREFIX + name: value for name, value in facts.items()}


def quoted(text: str) -> str:
    """What somebody else wrote, short and on one line."""
    return repr(text[:_LONGEST_NAME])


def did_you_mean(close: str | None) -> str:
    return f"; did you mean {close}?" if close else ""
