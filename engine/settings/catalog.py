"""The catalog: `model_gpu_mapping.json` to model specs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import replace

from engine.core.models import Dtype, Limits, ModelSpec, Pin
from engine.core.names import MODEL_NAME_RULE, DeviceId, is_model_name
from engine.core.serialization import Undecodable, converted
from engine.core.tasks import TaskKind
from engine.settings.check import differences
from engine.settings.documents import read_json, without_nulls
from engine.settings.problems import Place, Problem, given, meant

CATALOG_FILE: Final = "model_gpu_mapping.json"

SOURCES: Final[dict[str, re.Pattern[str]]] = {
    "package": re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII),
    "hub": re.compile(r"(?!.*\.\.)(\w[\w.-]*/)?\w[\w.-]*", re.ASCII),
    "path": re.compile(r"[^\x00-\x1f\x7f]+"),
    "synthetic": re.compile(r"\w[\w.-]*", re.ASCII),
}
"""Where weights may come from, and what may follow the colon."""
SOURCE_RULE: Final = "package:MODULE, hub:OWNER/NAME, path:FOLDER or synthetic:KIND, or a list of them"

Sources: TypeAlias = Annotated[str | tuple[str, ...], Meta(description=SOURCE_RULE)]
BatchRows: TypeAlias = Annotated[int, Meta(ge=1, le=4096, description="a whole number from 1 to 4096")]
Tokens: TypeAlias = Annotated[int, Meta(ge=1, le=1 << 20, description=f"a whole number from 1 to {1 << 20}")]
IdleSeconds: TypeAlias = Annotated[float, Meta(ge=0, le=604_800, description="seconds from 0 to 604800")]
Alias: TypeAlias = Annotated[
    str, Meta(pattern=r"^[\w][\w./:-]{0,127}\Z", description="1 to 128 of A-Z a-z 0-9 . _ - / :")
]
Revision: TypeAlias = Annotated[str, Meta(pattern=r"^\w[\w./-]{0,99}\Z", description="a commit, tag or branch")]
Sha256: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="64 hexadecimal digits, lower case")]


class LimitsEntry(Struct, frozen=True):
    """The largest request."""

    max_batch: BatchRows = Limits().max_batch
    max_sequence: Tokens | None = None
    """The model's own where it is left out."""
    truncate: bool = False


class ModelEntry(Struct, frozen=True):
    """A model as the file writes it."""

    name: str
    source: Sources
    task: TaskKind
    dtype: Dtype = "float32"
    limits: LimitsEntry = LimitsEntry()
    aliases: Annotated[tuple[Alias, ...], Meta(max_length=50)] = ()
    idle_s: IdleSeconds | None = None
    preferred_device: str | None = None
    pin: Annotated[bool | str, Meta(description="true, false or a device")] = False
    preload: bool = False
    revision: Revision | None = None
    sha256: Sha256 | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,) if isinstance(self.source, str) else self.source


class Catalog(Struct, frozen=True):
    """`model_gpu_mapping.json`."""

    models: tuple[ModelEntry, ...]


def read_catalog(folder: Path, devices: Collection[DeviceId] | None, problems: list[Problem]) -> tuple[ModelSpec, ...]:
    """The models of the catalog in `folder`; what is wrong with it is added to `problems`.

    `devices`: those that it may name, or None when they are not known.
    """
    document = read_json(folder / CATALOG_FILE, problems)
    return () if document is None else models_in(document, folder, devices, problems)


def models_in(
    document: object, folder: Path, devices: Collection[DeviceId] | None, problems: list[Problem]
) -> tuple[ModelSpec, ...]:
    """The models of a catalog's `document`, which lies in `folder` or is about to; as `read_catalog`."""
    top = Place(CATALOG_FILE)
    problems += differences(document, Catalog, top)
    models = document.get("models") if isinstance(document, dict) else None
    entries = models if isinstance(models, list) else []
    at = top.child("models")
    problems += _repeated_names(entries, at)
    sound = dict(_sound(entries))
    for index, entry in sound.items():
        problems += _meaning(entry, devices, at.item(index, entry.name))
    return tuple(_spec(entry, folder) for entry in sound.values())


def _sound(entries: Iterable[object]) -> Iterator[tuple[int, ModelEntry]]:
    """The entries whose types are right, so that their meaning can be checked whatever else is wrong."""
    for index, entry in enumerate(entries):
        with suppress(Undecodable):
            yield index, converted(without_nulls(entry), ModelEntry)


def _repeated_names(entries: Iterable[object], at: Place) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            continue
        if name in first:
            allowed = f"a name of its own; models[{first[name]}] has this one"
            yield Problem(at.item(index).child("name"), given(name), allowed)
        first.setdefault(name, index)


def _meaning(entry: ModelEntry, devices: Collection[DeviceId] | None, at: Place) -> Iterator[Problem]:
    """What the types let pass: bad names, sources that lead nowhere, devices that don't exist."""
    if not is_model_name(entry.name):
        yield Problem(at.child("name"), given(entry.name), MODEL_NAME_RULE)
    if not entry.sources:
        yield Problem(at.child("source"), given([]), SOURCE_RULE)
    for source in entry.sources:
        yield from _source(source, at.child("source"))
    for key, device in (("preferred_device", entry.preferred_device), ("pin", entry.pin)):
        if devices is not None and isinstance(device, str) and device not in devices:
            yield Problem(at.child(key), given(device), ", ".join(devices), meant(device, devices))


def _source(source: str, at: Place) -> Iterator[Problem]:
    scheme, colon, rest = source.partition(":")
    if not colon or scheme not in SOURCES:
        yield Problem(at, given(source), SOURCE_RULE, meant(scheme, SOURCES))
    elif not SOURCES[scheme].fullmatch(rest):
        yield Problem(at, given(source), SOURCE_RULE)


def _spec(entry: ModelEntry, folder: Path) -> ModelSpec:
    pin = Pin(entry.pin) if isinstance(entry.pin, str) else Pin() if entry.pin else None
    return ModelSpec(
        name=entry.name,
        sources=tuple(_anchored(source, folder) for source in entry.sources),
        task=entry.task,
        dtype=entry.dtype,
        limits=_limits(entry.limits),
        aliases=entry.aliases,
        idle_s=entry.idle_s,
        has_own_limit=entry.limits.max_sequence is None,
        preferred_device=entry.preferred_device,
        pin=pin,
        preload=entry.preload,
        revision=entry.revision,
        sha256=entry.sha256,
    )


def _limits(entry: LimitsEntry) -> Limits:
    limits = Limits(entry.max_batch, truncate=entry.truncate)
    return limits if entry.max_sequence is None else replace(limits, max_sequence=entry.max_sequence)


def _anchored(source: str, folder: Path) -> str:
    """A relative path is relative to the configuration, not to wherever the engine was started."""
    scheme, _, rest = source.partition(":")
    return f"path:{(folder / Path(rest).expanduser()).resolve()}" if scheme == "path" else source
