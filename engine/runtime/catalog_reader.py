"""The catalog's file as it is now, and what the sources of its models say, read by the settings that the engine lives with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct

from engine.core.devices import DeviceSpec
from engine.core.models import ModelSpec
from engine.core.names import ModelName
from engine.runtime.initial_state import ModelLook, check_models_fit, look_at
from engine.settings import Settings
from engine.settings.catalog import CATALOG_FILE
from engine.settings.load import ALLOCATION_FILE, on_visible
from engine.settings.schema import Allocation

Stamps: TypeAlias = dict[str, object]
"""Of each file of the configuration: equal ones say that nobody has written it in between."""


class CatalogLook(Struct, frozen=True):
    """What the catalog has now."""

    listed: dict[ModelName, ModelSpec]
    looks: dict[ModelName, ModelLook]
    """Of the models that are new in it, of which it says something else than before, or that were in trouble."""
    remarks: tuple[str, ...] = ()


class CatalogReader:
    """Remembers what it read last, to tell what is new. Its methods may block for as long as a file system does."""

    def __init__(
        self, settings: Settings, specs: Sequence[DeviceSpec], cache: Path, read_settings: Callable[[], Settings]
    ) -> None:
        self._settings: Final = settings
        self._specs: Final = specs
        self._cache: Final = cache
        self._read_settings: Final = read_settings
        self._listed = {spec.name: spec for spec in settings.models}

    def look(self, model: ModelName) -> ModelLook | None:
        """What the model's files say now; None where the catalog has it no more."""
        spec = self._listed.get(model)
        return None if spec is None else look_at(spec, self._settings, self._specs, self._cache)

    def read(self, troubled: Collection[ModelName]) -> CatalogLook:
        """What the file says now. Raises SettingsError for one that has mistakes, or a model that fits no device. Until it is
        `taken`, what was read before holds."""
        found = self._read_settings()
        models = on_visible(found.models, self._settings.gpus)
        wanted = [spec for spec in models if self._listed.get(spec.name) != spec or spec.name in troubled]
        looks = {spec.name: look_at(spec, self._settings, self._specs, self._cache) for spec in wanted}
        fit = check_models_fit(self._settings, self._specs, {name: look.state for name, look in looks.items()})
        said = [warning for look in looks.values() for warning in look.warnings]
        return CatalogLook({spec.name: spec for spec in models}, looks, (*said, *fit, *self._for_a_restart(found)))

    def taken(self, found: CatalogLook) -> None:
        """What was read is what the engine knows from now on."""
        self._listed = found.listed

    def stamps(self) -> Stamps:
        """Of the files as they are now."""
        folder = Path(self._settings.folder)
        return {name: _stamp(folder / name) for name in (CATALOG_FILE, ALLOCATION_FILE)}

    def preloaded(self, models: Collection[ModelName]) -> list[ModelName]:
        """Which of them the catalog wants loaded without being asked."""
        return [spec.name for spec in self._listed.values() if spec.preload and spec.name in models]

    def _for_a_restart(self, found: Settings) -> Iterator[str]:
        changed = [
            name for name in Allocation.__struct_fields__ if getattr(found, name) != getattr(self._settings, name)
        ]
        if changed:
            yield f"{ALLOCATION_FILE} has changed in {', '.join(changed)}, which is read when the engine starts"


def _stamp(path: Path) -> object:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
