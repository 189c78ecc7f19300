"""Which model of the catalog a name means."""

from __future__ import annotations

from collections.abc import Mapping

from engine.core.models import ModelSpec
from engine.core.names import ModelName
from engine.core.near_misses import nearest
from engine.core.texts import in_brief


def model_meant(models: Mapping[ModelName, ModelSpec], name: str) -> ModelName | None:
    """The model of that name, else the one with it as an alias, else the one that the hub has under it. Capitals make no
    difference where they need not, and neither does the `:latest` that some applications put behind each name."""
    if name in models:
        return name
    return _by_any_name(models).get(name.removesuffix(":latest").lower())


def nearest_model(models: Mapping[ModelName, ModelSpec], name: str) -> ModelName | None:
    """The model whose name is so like `name` that it may have been meant."""
    names = _by_any_name(models)
    close = nearest(name.lower(), names)
    return None if close is None else names[close]


def unknown_model(models: Mapping[ModelName, ModelSpec], name: str) -> str:
    """What to say to whoever asks for a model that there is not."""
    nearest = nearest_model(models, name)
    hint = f" (did you mean {nearest}?)" if nearest else ""
    known = f"the catalog has {', '.join(models)}" if models else "the catalog is empty"
    return f"no model is named {in_brief(name)}{hint}; {known}"


def _by_any_name(models: Mapping[ModelName, ModelSpec]) -> dict[str, ModelName]:
    """Models by each of their names, in lower case. A model's own name goes before an alias of another, an alias before a name
    of the hub; of two with one name, the first of the catalog has it."""
    names = {name.lower(): name for name in reversed(tuple(models))}
    aliases = {alias.lower(): name for name, spec in reversed(tuple(models.items())) for alias in spec.aliases}
    by_hub = {
        source.removeprefix("hub:").lower(): name
        for name, spec in reversed(tuple(models.items()))
        for source in spec.sources
        if source.startswith("hub:")
    }
    return by_hub | aliases | names
