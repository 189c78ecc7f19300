"""The catalog as it changes while the engine lives: which models come, go and become others, and what a state is with that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from engine.core.models import ModelSpec
from engine.core.names import ModelName
from engine.core.state import ModelState, State

LEAVING_REMARK: Final = "it was taken out of the catalog, and goes once it has left its device"


class CatalogChange(Struct, frozen=True):
    """What reading the catalog again has changed."""

    added: tuple[ModelName, ...] = ()
    removed: tuple[ModelName, ...] = ()
    leaving: tuple[ModelName, ...] = ()
    """Taken out of the catalog too, and in use: they go once they have left their devices."""
    changed: tuple[ModelName, ...] = ()
    later: tuple[ModelName, ...] = ()
    """Changed too, and in use: what is new about them holds from their next load on."""
    remarks: tuple[str, ...] = ()
    """What else the operator should know, in words."""

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.removed or self.leaving or self.changed or self.later)


def catalog_change_text(change: CatalogChange) -> str:
    """What has changed, in one sentence; what there is to remark comes beside it."""
    parts = [
        f"added {_names(change.added)}" if change.added else "",
        f"removed {_names(change.removed)}" if change.removed else "",
        f"{_names(change.leaving)} in use, removed once off the device" if change.leaving else "",
        f"changed {_names(change.changed)}" if change.changed else "",
        f"{_names(change.later)} in use, changed from the next load on" if change.later else "",
    ]
    return "; ".join(filter(None, parts)) or "the catalog says what the engine knows already"


def same_weights(one: ModelState, other: ModelState) -> bool:
    """Whether both would be loaded alike: nothing else is asked of the files, and nothing of what runs showed is void."""
    return _loading(one.spec) == _loading(other.spec) and one.source == other.source and one.trouble == other.trouble


def caught_up(before: ModelState, now: ModelState) -> ModelState:
    """`before` as the catalog has it now, with all that was learned of it since the engine started and is still true. What the
    operator has said meanwhile of its pin and its idleness goes before a catalog that says of them what it said."""
    kept = replace(
        before if same_weights(before, now) else replace(now, demand=before.demand, queueing=before.queueing),
        spec=now.spec,
        remark=now.remark,
        pin=before.pin if before.spec.pin == now.spec.pin else now.pin,
        keep_alive_s=before.keep_alive_s if before.spec.idle_s == now.spec.idle_s else now.keep_alive_s,
    )
    return before if kept == before else kept


def spoken_of(before: ModelState, now: ModelState) -> ModelState:
    """`before`, loaded as it was, with whatever the catalog says now that does not touch its weights."""
    spec = replace(
        before.spec,
        aliases=now.spec.aliases,
        idle_s=now.spec.idle_s,
        preferred_device=now.spec.preferred_device,
        pin=now.spec.pin,
        preload=now.spec.preload,
    )
    return caught_up(before, replace(before, spec=spec, pin=now.pin, keep_alive_s=now.keep_alive_s))


def in_order(state: State, names: Iterable[ModelName]) -> State:
    """`state` with its models in the order of the catalog; those that it no longer has come last."""
    listed = [name for name in names if name in state.models]
    order = (*listed, *(name for name in state.models if name not in set(listed)))
    return state if order == tuple(state.models) else replace(state, models={n: state.models[n] for n in order})


def without_model(state: State, model: ModelName) -> State:
    """`state` as if there had never been the model, which is on no device and whose slab has gone."""
    models = {name: known for name, known in state.models.items() if name != model}
    memory = {name: figure for name, figure in state.memory.of_models.items() if name != model}
    changes = tuple(change for change in state.changes if all(step.model != model for step in change.steps))
    state = replace(state, models=models, memory=replace(state.memory, of_models=memory), changes=changes)
    return new_to_workers(state, model)


def new_to_workers(state: State, model: ModelName) -> State:
    """`state` where no worker knows the model: the first bind of what is to come takes longer."""
    devices = {
        device: replace(known, warmed=tuple(name for name in known.warmed if name != model))
        for device, known in state.devices.items()
    }
    return replace(state, devices=devices)


def _loading(spec: ModelSpec) -> object:
    return spec.sources, spec.task, spec.dtype, spec.limits, spec.has_own_limit, spec.revision, spec.sha256


def _names(models: Sequence[ModelName]) -> str:
    return ", ".join(models)
