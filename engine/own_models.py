"""One's own models: put into the catalog's file, taken out of it and given other names, after they were looked at; and an engine
that runs takes that up at once.

A change is made whole or not at all: what the files of the model, the file of the catalog or the engine have against it is said,
and the file is as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.api import EngineAPI, EngineError, UnknownModel
from engine.clock import SystemClock
from engine.core.catalog import CatalogChange
from engine.core.devices import DeviceSpec
from engine.core.model_names import model_meant, unknown_model
from engine.core.models import Dtype, ModelSpec
from engine.core.names import MODEL_NAME_RULE, ModelName, is_model_name
from engine.core.state import ModelState
from engine.core.tasks import TaskKind
from engine.defaults import is_of_the_program
from engine.devices.host import read_host_memory
from engine.devices.inventory import take_inventory
from engine.devices.nvml import NvmlProbe
from engine.paths import find_paths
from engine.runtime.initial_state import check_models_fit, look_at
from engine.settings import Settings, SettingsError, device_specs, find_dotenv, load_settings
from engine.settings.catalog import CATALOG_FILE, SOURCE_RULE, SOURCES, models_in
from engine.settings.catalog_text import with_aliases, with_entry, without_entry
from engine.settings.documents import json_in
from engine.settings.problems import Problem
from engine.weights.errors import WeightsError
from engine.weights.header import stored_dtype
from engine.weights.heads import task_of
from engine.weights.recipes import RECIPES
from engine.weights.sources import given_folder
from engine.whole_file import only_writer, write_whole

_KEPT: Final = "nothing was written"


class NewModel(Struct, frozen=True):
    """A model that is to be added; what is left out is found in its files."""

    source: str
    """`path:DIR`, `hub:REPO` or `hub:REPO@REVISION`, and the others that a catalog may have."""
    name: ModelName | None = None
    task: TaskKind | None = None
    dtype: Dtype | None = None
    aliases: tuple[str, ...] = ()
    max_sequence: int | None = None


class AddedModel(Struct, frozen=True):
    """A model that is in the catalog now."""

    known: ModelState
    """What its files say of it."""
    remarks: tuple[str, ...]
    """What the operator should know, in words."""
    change: CatalogChange | None
    """What an engine made of it; None where none runs."""


class NotWritten(EngineError):
    """The catalog stays as it was, and why."""


def refuse_defaults(folder: Path) -> None:
    """Whoever has set nothing up runs on the program's own files, which the next version replaces. Raises NotWritten."""
    if is_of_the_program(str(folder)):
        raise NotWritten(
            "there is no catalog of your own: `citadel init` writes one; then `citadel stop`, start again, and add the model;"
            f" {_KEPT}"
        )


class OwnModels:
    """The catalog in `folder`, and the engine that runs on it, if one does."""

    def __init__(self, folder: Path, environment: Mapping[str, str], engine: EngineAPI | None) -> None:
        self._folder: Final = folder
        self._environment: Final = environment
        self._engine: Final = engine

    async def add(self, asked: NewModel) -> AddedModel:
        """Raises EngineError: what is wrong with the model, or why the engine does not take it."""
        grounds = await self._grounds()
        entry = await asyncio.to_thread(_entry_of, asked)
        problems: list[Problem] = []
        specs = models_in({"models": [entry]}, self._folder, None, problems)
        if problems:
            raise SettingsError(f"The model can't be added; {_KEPT}.", problems)
        known, remarks = await asyncio.to_thread(grounds.judged, specs[0])

        def put(text: str, models: Sequence[ModelSpec]) -> str:
            _check_names(models, specs[0])
            return with_entry(text, entry)

        change = await self._rewrite(put, specs[0].name)
        return AddedModel(known, remarks, change)

    async def remove(self, name: str) -> tuple[ModelName, CatalogChange | None]:
        """Take the model that is meant out of the catalog. Raises UnknownModel, EngineError."""
        return await self._change_one(name, lambda text, number, _: without_entry(text, number))

    async def add_aliases(self, name: str, aliases: Sequence[str]) -> tuple[ModelName, CatalogChange | None]:
        """Let the model that is meant be called so, too. Raises UnknownModel, EngineError."""

        def put(text: str, number: int, models: Sequence[ModelSpec]) -> str:
            others = [model for model in models if model is not models[number]]
            for alias in aliases:
                _check_name(others, alias)
            return with_aliases(text, number, tuple(dict.fromkeys((*models[number].aliases, *aliases))))

        return await self._change_one(name, put)

    async def remove_aliases(self, name: str, aliases: Sequence[str]) -> tuple[ModelName, CatalogChange | None]:
        """Let the model that is meant be called so no more. Raises UnknownModel, EngineError."""

        def take(text: str, number: int, models: Sequence[ModelSpec]) -> str:
            known = models[number].aliases
            if strange := [alias for alias in aliases if alias not in known]:
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise NotWritten(f"{models[number].name} has no alias {strange[0]}; {has}; {_KEPT}")
            return with_aliases(text, number, [alias for alias in known if alias not in aliases])

        return await self._change_one(name, take)

    async def _change_one(
        self, name: str, change: Callable[[str, int, Sequence[ModelSpec]], str]
    ) -> tuple[ModelName, CatalogChange | None]:
        met: list[ModelName] = []

        def change_it(text: str, models: Sequence[ModelSpec]) -> str:
            by_name = {model.name: model for model in models}
            meant = model_meant(by_name, name)
            if meant is None:
                raise UnknownModel(unknown_model(by_name, name))
            met.append(meant)
            return change(text, list(by_name).index(meant), models)

        changed = await self._rewrite(change_it)
        return met[0], changed

    async def _rewrite(
        self, change: Callable[[str, Sequence[ModelSpec]], str], new: ModelName | None = None
    ) -> CatalogChange | None:
        """Have the file changed, and the engine take that up. What the engine refuses is taken back, and so is a `new` model that
        it can't load: its environment may be another."""
        refuse_defaults(self._folder)
        path = (self._folder / CATALOG_FILE).resolve()
        with _only_writer(path.parent):
            before = _read(path)
            text = before.decode("utf-8")
            after = change(text, self._models(text))
            self._models(after)
            _write(path, after.encode("utf-8"))
            if self._engine is None:
                return None
            try:
                changed = await self._engine.reload()
            except EngineError:
                _write(path, before)
                raise
            known = (await self._engine.snapshot()).state.models.get(new or "")
            if known is not None and known.trouble:
                _write(path, before)
                await self._engine.reload()
                raise NotWritten(f"the engine can't use it: {known.trouble.rstrip('.')}; {_KEPT}")
            return changed

    def _models(self, text: str) -> tuple[ModelSpec, ...]:
        """Of the catalog that is written so. Raises SettingsError with all of its mistakes."""
        problems: list[Problem] = []
        document = json_in(text.removeprefix("\ufeff"), CATALOG_FILE, problems)
        models = () if problems else models_in(document, self._folder, None, problems)
        if problems:
            raise SettingsError(f"The catalog in {self._folder} would have mistakes, or has them; {_KEPT}.", problems)
        return models

    async def _grounds(self) -> _Grounds:
        """What the engine that runs, or the next one, judges models by."""
        dotenv, paths, clock = find_dotenv(self._folder, Path.cwd()), find_paths(self._environment), SystemClock()
        if self._engine is not None:
            devices = (await self._engine.snapshot()).state.devices.values()
            without_cards = {**self._environment, "CUDA_ENABLED": "false"}  # the engine has found them already
            settings = load_settings(self._folder, without_cards, dotenv)
            return _Grounds(settings, tuple(known.spec for known in devices), paths.cache)
        probe = NvmlProbe(clock)
        try:
            await probe.open()
            cards = take_inventory(paths, probe.facts, clock.now())
            settings = load_settings(self._folder, self._environment, dotenv, cards.inventory)
        finally:
            await probe.close()
        host = read_host_memory()
        return _Grounds(settings, device_specs(settings, host.total_bytes, host.all_of_it), paths.cache)


class _Grounds(Struct, frozen=True):
    """What models are judged by."""

    settings: Settings
    specs: tuple[DeviceSpec, ...]
    cache: Path

    def judged(self, spec: ModelSpec) -> tuple[ModelState, tuple[str, ...]]:
        """The model, and what there is to say of it. Raises EngineError when it can't be used."""
        look = look_at(spec, self.settings, self.specs, self.cache)
        if look.source is None:
            raise NotWritten(f"{look.state.trouble.rstrip('.')}; {_KEPT}")
        fit = check_models_fit(self.settings, self.specs, {spec.name: look.state})
        return look.state, (*look.warnings, *fit)


def _entry_of(asked: NewModel) -> dict[str, object]:
    """As it comes to stand in the file. Raises NotWritten."""
    source, revision = _source_of(asked.source)
    form, _, rest = source.partition(":")
    name = asked.name or _name_of(form, rest)
    if not is_model_name(name):
        raise NotWritten(f"{name!r} can't be a model's name ({MODEL_NAME_RULE}); give one with --name; {_KEPT}")
    try:
        task = asked.task or _task_of(source, revision)
        dtype = asked.dtype or (None if form == "synthetic" else stored_dtype(given_folder(source, revision)))
    except (WeightsError, OSError) as error:
        raise NotWritten(f"{source}: {str(error).rstrip('.')}; {_KEPT}") from error
    entry: dict[str, object] = {"name": name, "source": source, "task": task}
    said = {
        "dtype": dtype,
        "limits": None if asked.max_sequence is None else {"max_sequence": asked.max_sequence},
        "aliases": list(asked.aliases),
        "revision": revision,
    }
    return entry | {key: value for key, value in said.items() if value}


def _source_of(text: str) -> tuple[str, str | None]:
    """The source as a catalog has it, wherever it was said; and the revision. Raises NotWritten."""
    form, colon, rest = text.partition(":")
    if not colon or form not in SOURCES:
        hint = f"; did you mean path:{text}?" if Path(text).expanduser().is_dir() else f"; allowed: {SOURCE_RULE}"
        raise NotWritten(f"{text!r} is no source{hint}; {_KEPT}")
    if form == "path":
        return f"path:{Path(rest).expanduser().absolute()}", None
    if form == "hub" and "@" in rest:
        repository, _, revision = rest.partition("@")
        if not revision:
            raise NotWritten(f"{text} names no revision behind the @; leave that out, too, for the newest; {_KEPT}")
        return f"hub:{repository}", revision
    return text, None


def _name_of(form: str, rest: str) -> ModelName:
    """That of the folder, the repository or the package."""
    return rest.rpartition(".")[2] if form == "package" else Path(rest).name


def _task_of(source: str, revision: str | None) -> TaskKind:
    """Raises WeightsError."""
    form, _, rest = source.partition(":")
    if form == "synthetic" and rest in RECIPES:
        return RECIPES[rest].task
    return task_of(given_folder(source, revision))


def _check_names(models: Sequence[ModelSpec], new: ModelSpec) -> None:
    _check_name(models, new.name, "; give another one with --name")
    for alias in new.aliases:
        _check_name(models, alias)


def _check_name(models: Sequence[ModelSpec], name: str, remedy: str = "") -> None:
    """Raises NotWritten where a model is called so already."""
    for model in models:
        if name.lower() in (model.name.lower(), *map(str.lower, model.aliases)):
            what = "is the name of a model" if name.lower() == model.name.lower() else f"is an alias of {model.name}"
            raise NotWritten(f"{name} {what} in the catalog already{remedy}; {_KEPT}")


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Raises NotWritten where somebody else changes the catalog."""
    with ExitStack() as stack:
        try:
            stack.enter_context(only_writer(folder))
        except BlockingIOError:
            raise NotWritten(f"somebody else changes the catalog in {folder} just now; try again; {_KEPT}") from None
        yield


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotWritten(f"{path} can't be read: {error.strerror}; {_KEPT}") from error


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content, path.stat().st_mode & 0o777)
    except OSError as error:
        raise NotWritten(f"{path} can't be written: {error.strerror}; it is as it was") from error
