"""The fleet's one file: its boxes and how each is reached, what the operator wants where, and the door for applications. All that
is wrong with it is said at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from engine.core.names import BOX_NAME_RULE, MODEL_NAME_RULE, BoxName, is_box_name, is_model_name
from engine.core.serialization import converted
from engine.paths import SOCKET_PATH_LIMIT_BYTES
from engine.settings.check import differences
from engine.settings.documents import Table, read_yaml, without_nulls
from engine.settings.problems import Place, Problem, SettingsError, given, meant
from engine.settings.schema import HttpSettings, decode_size
from fleet.core.view import Rule, Rules

_EXAMPLE: Final = "boxes such as box1: {} and box2: {ssh: box2}"

HostName = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@:%-]*\Z", description="what ssh calls the machine: box2, or ann@box2.lan"),
]
SocketPath = Annotated[
    str,
    Meta(
        pattern=r"^/[^:\x00-\x1f]*\Z",
        max_length=SOCKET_PATH_LIMIT_BYTES,
        description=f"the absolute path of an engine's socket, without colons, of at most {SOCKET_PATH_LIMIT_BYTES} bytes",
    ),
]


class BoxEntry(Struct, frozen=True):
    """A box of the file. With none of `ssh`, `ray` and `socket` it is this user's own engine on this machine."""

    ssh: HostName | None = None
    """The machine, as the user's ssh knows it."""
    socket: SocketPath | None = None
    """Of its engine, where that is not in its usual place."""
    drained: bool = False
    """Whether it is to take nothing new."""
    ray: HostName | None = None
    """The machine, as the user's ssh knows it, whose engine is reached through Ray; by ssh it is only set up and looked at."""

    @property
    def engine(self) -> str:
        """Two boxes with the same would be one engine twice."""
        return f"{self.ssh or self.ray or ''} {self.socket or ''}".strip()

    @property
    def address(self) -> str:
        """By which way to which engine."""
        return f"{'ray ' if self.ray else ''}{self.engine}"


class FleetSettings(Struct, frozen=True):
    """`fleet.yaml`, checked."""

    boxes: dict[BoxName, BoxEntry]
    """In the order in which screens show them."""
    rules: Rules = Rules()
    http: HttpSettings = HttpSettings()


class _Rest(Struct, frozen=True):
    """The file but for what is named by the operator."""

    boxes: dict[Any, Any] | None = None
    order: tuple[str, ...] = ()
    models: dict[Any, Any] | None = None
    http: HttpSettings = HttpSettings()


def load_fleet(file: Path) -> FleetSettings:
    """What the file says. Raises SettingsError with all problems at once."""
    problems: list[Problem] = []
    document = read_yaml(file, problems)
    at = Place(file.name)
    if document is not None:
        problems += differences(document, _Rest, at)
    said = document if isinstance(document, Mapping) else {}
    boxes = _table(said.get("boxes"))
    problems += _wrong_boxes(boxes, at.child("boxes")) if document is not None else ()
    problems += _wrong_names(said.get("order"), boxes, at.child("order"))
    models = _table(said.get("models"))
    problems += _wrong_models(models, boxes, at.child("models"))
    if problems:
        raise SettingsError(f"The fleet's settings in {file} were refused; nothing was started or changed.", problems)
    rest = converted(without_nulls(said), _Rest, dec_hook=decode_size)
    return FleetSettings(
        {str(name): converted(without_nulls(entry or {}), BoxEntry) for name, entry in boxes.items()},
        Rules(rest.order, {str(name): converted(without_nulls(rule), Rule) for name, rule in models.items() if rule}),
        rest.http,
    )


def _table(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _wrong_boxes(boxes: Mapping[Any, Any], at: Place) -> Iterator[Problem]:
    if not boxes:
        yield Problem(at, "the fleet has no box", _EXAMPLE)
    yield from _given_twice(boxes, at)
    engines: dict[str, object] = {}
    for name, entry in boxes.items():
        if not (isinstance(name, str) and is_box_name(name)):
            yield Problem(at, f"{given(name)} as a box's name", BOX_NAME_RULE)
        found = list(differences({} if entry is None else entry, BoxEntry, at.child(name)))
        yield from found
        if not found:
            box = converted(without_nulls(entry or {}), BoxEntry)
            if box.ssh and box.ray:
                yield Problem(at.child(name), "it has two ways", "ssh alone, or ray alone")
            if box.engine in engines:
                yield Problem(
                    at.child(name), f"it is the same engine as {engines[box.engine]}", "another ssh or socket"
                )
            engines.setdefault(box.engine, name)


def _wrong_models(models: Mapping[Any, Any], boxes: Collection[Any], at: Place) -> Iterator[Problem]:
    yield from _given_twice(models, at)
    for name, rule in models.items():
        here = at.child(name)
        if not (isinstance(name, str) and is_model_name(name)):
            yield Problem(at, f"{given(name)} as a model's name", MODEL_NAME_RULE)
        yield from differences({} if rule is None else rule, Rule, here)
        for key in ("only", "order"):
            yield from _wrong_names(_table(rule).get(key), boxes, here.child(key))
        if _table(rule).get("only") == []:
            yield Problem(
                here.child("only"), "no box may hold it", "at least one, or leave the model out of the catalogs"
            )


def _wrong_names(names: object, boxes: Collection[Any], at: Place) -> Iterator[Problem]:
    """Names of boxes that there are not; what is no list of names is told by its type."""
    seen = set[object]()
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and name not in boxes:
            yield Problem(at, f"there is no box {name}", ", ".join(map(str, boxes)), meant(name, map(str, boxes)))
        if isinstance(name, str) and name in seen:
            yield Problem(at, f"{name} is given more than once", "once")
        seen |= {name} if isinstance(name, str) else set()


def _given_twice(table: Mapping[Any, Any], at: Place) -> Iterator[Problem]:
    for key in table.repeated if isinstance(table, Table) else ():
        yield Problem(at.child(key), "the key is given more than once", "once")
