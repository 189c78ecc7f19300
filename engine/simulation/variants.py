"""The box and the configuration that requests were served with, and those that one might have instead: each with what it costs
and how one gets it. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, get_args

from msgspec import Struct
from msgspec.structs import replace

from engine.core import ledger
from engine.core.models import Dtype, Pin
from engine.core.names import CPU, ModelName
from engine.core.planning.placement import gpus
from engine.core.policy import Eviction, Policy
from engine.core.sizes import GIB, MIB, format_room, format_size, mib
from engine.core.state import State
from engine.replay.box import Box, box_of
from engine.simulation.compute import Compute

_SETTINGS: Final = "gpu_allocation.yaml"
_TIMES_RAM: Final = (2, 4)
_STEP_BYTES: Final = 256 * MIB
"""A RAM tier that holds every model is rounded up to these."""
_FRACTIONS: Final = (0.9, 0.95)
_MODELS_TRIED: Final = 5
"""In smaller dtypes: those whose loads could have moved the most bytes."""
_PINS_TRIED: Final = 3
_DTYPES_TRIED: Final[tuple[Dtype, ...]] = ("int8", "nf4")
_CAVEATS: Final[Mapping[Dtype, str]] = {
    "int8": "answers differ a little (docs/models.md has figures), and each run takes longer",
    "nf4": "answers of small models differ clearly, of large ones less (docs/models.md has figures), and each run takes longer",
}


class Memory(Struct, frozen=True):
    """A GPU's own."""

    backing: str
    """`ram` for a virtual GPU, else the card."""
    total_bytes: int

    @property
    def line(self) -> str:
        """Its entry in the configuration, where it is a virtual GPU."""
        return f"{{backing: {self.backing}, memory: {_written(self.total_bytes)}}}"


class Held(Struct, frozen=True):
    """Room that a pinned model takes which nobody asks for."""

    gpu: int
    """Its place among the GPUs."""
    size_bytes: int


class Setup(Struct, frozen=True):
    """What requests are served with, and what could be changed of it."""

    box: Box
    sizes: dict[ModelName, int]
    """Bytes of each model on a GPU."""
    policy: Policy = Policy()
    pins: dict[ModelName, Pin] = {}
    held: dict[ModelName, Held] = {}
    """By other models, which are pinned and not among those asked for."""
    cpu_bytes: int = Compute().cpu_bytes
    smaller: dict[ModelName, dict[Dtype, int]] = {}
    """Bytes of a model in other dtypes, where they are known."""
    memories: tuple[Memory, ...] = ()
    """Of the GPUs, where they are known."""
    fractions: tuple[tuple[float, tuple[int, ...]], ...] = ()
    """Higher memory fractions, and the GPUs' budgets with each."""

    @property
    def box_left(self) -> Box:
        """The box with what is held taken off its GPUs."""
        left_bytes = list(self.box.gpus_bytes)
        for held in self.held.values():
            left_bytes[held.gpu] = max(0, left_bytes[held.gpu] - held.size_bytes)
        return replace(self.box, gpus_bytes=tuple(left_bytes))


class Variant(Struct, frozen=True):
    """A setup that one doesn't have."""

    title: str
    cost: str
    how: str
    """The command, or the line of the configuration."""
    setup: Setup
    ladder: str = ""
    """Of variants that share one, each costs more than those before it."""


def setup_of(state: State, policy: Policy, models: Sequence[ModelName]) -> Setup:
    """The engine's own, for requests for `models`, all of them in its catalog."""
    devices = [state.devices[device].spec for device in gpus(state)]
    return Setup(
        box=box_of(state),
        sizes={model: state.models[model].footprint.total_bytes for model in models},
        policy=policy,
        pins={model: pin for model in models if (pin := state.models[model].pin) is not None},
        held=_held(state, models),
        cpu_bytes=ledger.budget(state, CPU) if CPU in state.devices else 0,
        smaller={
            model: {dtype: footprint.total_bytes for dtype, footprint in state.models[model].smaller.items()}
            for model in models
        },
        memories=tuple(Memory(spec.backing, spec.total_bytes) for spec in devices),
        fractions=tuple(_higher_fractions(state)),
    )


def _held(state: State, asked: Collection[ModelName]) -> dict[ModelName, Held]:
    places = {device: number for number, device in enumerate(gpus(state))}
    return {
        resident.model: Held(places[resident.device], resident.footprint.total_bytes)
        for resident in state.residents
        if resident.device in places and resident.model not in asked and state.models[resident.model].pin is not None
    }


def on_other_gpus(setup: Setup, gpus_bytes: tuple[int, ...]) -> Setup:
    """With GPUs of these budgets. Who was pinned to one that is there no longer is pinned wherever it is."""
    there = {None, CPU, *(f"gpu{number}" for number in range(len(gpus_bytes)))}
    pins = {model: pin if pin.device in there else Pin() for model, pin in setup.pins.items()}
    box = replace(setup.box, gpus_bytes=gpus_bytes)
    held = {model: room for model, room in setup.held.items() if room.gpu < len(gpus_bytes)}
    return replace(setup, box=box, pins=pins, held=held, memories=(), fractions=())


def _higher_fractions(state: State) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Those that would give any GPU more."""
    known_bytes = {box_of(state).gpus_bytes}
    for fraction in _FRACTIONS:
        devices = {
            name: known if name == CPU else replace(known, spec=replace(known.spec, fraction=fraction))
            for name, known in state.devices.items()
        }
        after = box_of(replace(state, devices=devices)).gpus_bytes
        if after not in known_bytes and sum(after) > max(map(sum, known_bytes)):
            known_bytes.add(after)
            yield fraction, after


def variants(setup: Setup, asked: Mapping[ModelName, int]) -> tuple[Variant, ...]:
    """All that are worth trying for models that were `asked` for so often, repeats counted once; the cheapest first."""
    weighty = sorted(setup.sizes, key=lambda model: (-setup.sizes[model] * asked.get(model, 0), model))
    return (
        *_ram_tiers(setup),
        *_fractions(setup),
        *_pins(setup, weighty),
        *_policies(setup),
        *_smaller_models(setup, weighty[:_MODELS_TRIED]),
        *_cards(setup),
    )


def _ram_tiers(setup: Setup) -> Iterator[Variant]:
    """With no limit to their number where that is what keeps models out."""
    ram_bytes, models = setup.box.ram_bytes, len(setup.sizes)
    limit = setup.box.max_models
    all_bytes = -(-sum(setup.sizes.values()) // _STEP_BYTES) * _STEP_BYTES
    sizes = dict.fromkeys(min(times * ram_bytes, all_bytes) for times in _TIMES_RAM if ram_bytes < all_bytes)
    free = replace(setup, box=replace(setup.box, max_models=None))
    off, ladder = f"ram_tier.max_models: {models}", "RAM tier"
    if limit is not None and limit < models:
        title = f"RAM tier without its limit of {_models(limit)}"
        yield Variant(
            title, "nothing but the RAM that it may fill already", _line(off, "MODEL_CACHE_SIZE"), free, ladder
        )
    for size_bytes in sizes:
        title = f"RAM tier {format_room(size_bytes)} instead of {format_room(ram_bytes)}"
        cost, line = f"{format_size(size_bytes - ram_bytes)} of host RAM", f"ram_tier.budget: {_written(size_bytes)}"
        more = replace(setup, box=replace(setup.box, ram_bytes=size_bytes))
        yield Variant(title, cost, _line(line), more, ladder)
        if limit is not None and limit < models:
            larger = replace(free, box=replace(free.box, ram_bytes=size_bytes))
            title = f"{title}, and no limit of {_models(limit)}"
            yield Variant(title, cost, _line(f"{line} and {off}"), larger, ladder)


def _fractions(setup: Setup) -> Iterator[Variant]:
    for fraction, gpus_bytes in setup.fractions:
        more_bytes = sum(gpus_bytes) - sum(setup.box.gpus_bytes)
        yield Variant(
            f"{fraction:.0%} of each GPU's memory filled",
            f"{format_size(more_bytes)} of GPU memory that others can't use then",
            _line(f"memory_fraction: {fraction:g}", "GPU_MEMORY_FRACTION"),
            replace(setup, box=replace(setup.box, gpus_bytes=gpus_bytes)),
            "fraction",
        )


def _cards(setup: Setup) -> Iterator[Variant]:
    budgets, memories = setup.box.gpus_bytes, setup.memories
    largest = max(range(len(budgets)), key=budgets.__getitem__)
    one_more = (*budgets, budgets[largest])
    doubled = tuple(size_bytes * (2 if gpu == largest else 1) for gpu, size_bytes in enumerate(budgets))
    then_more = (*memories, *memories[largest : largest + 1])
    then_doubled = tuple(
        replace(memory, total_bytes=memory.total_bytes * (2 if gpu == largest else 1))
        for gpu, memory in enumerate(memories)
    )
    like = f"gpu{largest}"
    budget = format_room(budgets[largest])
    yield _card(setup, f"one more GPU like {like}, of which models may fill {budget}", one_more, then_more)
    yield _card(setup, f"{like} with twice the memory", doubled, then_doubled)


def _card(setup: Setup, title: str, gpus_bytes: tuple[int, ...], memories: tuple[Memory, ...]) -> Variant:
    then = replace(setup, box=replace(setup.box, gpus_bytes=gpus_bytes), memories=memories)
    if memories and all(memory.backing == "ram" for memory in memories):
        more_bytes = sum(m.total_bytes for m in memories) - sum(m.total_bytes for m in setup.memories)
        line = f"devices.virtual: [{', '.join(memory.line for memory in memories)}]"
        return Variant(title, f"{format_size(more_bytes)} of host RAM, since the GPUs are virtual", _line(line), then)
    how = f"cards are found by themselves; slices of one are listed under devices.virtual in {_SETTINGS}"
    return Variant(title, "a card, or more of one", how, then)


def _smaller_models(setup: Setup, models: Sequence[ModelName]) -> Iterator[Variant]:
    for model in models:
        for dtype in _DTYPES_TRIED:
            size_bytes = setup.smaller.get(model, {}).get(dtype)
            if size_bytes is not None and size_bytes < setup.sizes[model]:
                yield Variant(
                    f"{model} in {dtype}, {format_size(size_bytes)} instead of {format_size(setup.sizes[model])}",
                    _CAVEATS[dtype],
                    f'"dtype": "{dtype}" for {model} in model_gpu_mapping.json',
                    replace(setup, sizes={**setup.sizes, model: size_bytes}),
                    f"{model} smaller",
                )


def _pins(setup: Setup, weighty: Sequence[ModelName]) -> Iterator[Variant]:
    # Pins to the CPU stay as they are: what a run takes there is not known, and that is what such a pin is about.
    for model, pin in setup.pins.items():
        if pin.device != CPU:
            others = {name: kept for name, kept in setup.pins.items() if name != model}
            yield Variant(f"{model} no longer pinned", "nothing", f"citadel unpin {model}", replace(setup, pins=others))
    for model in setup.held:
        rest = {name: room for name, room in setup.held.items() if name != model}
        title = f"{model}, which nobody asked for, no longer pinned"
        yield Variant(title, "nothing", f"citadel unpin {model}", replace(setup, held=rest))
    free = [
        model
        for model in weighty
        if model not in setup.pins and 2 * setup.sizes[model] <= max(setup.box_left.gpus_bytes)
    ]
    for model in free[:_PINS_TRIED]:
        pins = {**setup.pins, model: Pin()}
        cost = f"{format_size(setup.sizes[model])} of a GPU that no other model gets"
        yield Variant(f"{model} pinned", cost, f"citadel pin {model}", replace(setup, pins=pins))


def _policies(setup: Setup) -> Iterator[Variant]:
    for eviction in get_args(Eviction):
        if eviction != setup.policy.eviction:
            policy = replace(setup.policy, eviction=eviction)
            title = f"models leave by {eviction} instead of {setup.policy.eviction}"
            yield Variant(title, "nothing", _line(f"policy.eviction: {eviction}"), replace(setup, policy=policy))


def _models(count: int) -> str:
    return f"{count} {'model' if count == 1 else 'models'}"


def _line(text: str, variable: str = "") -> str:
    """Of the configuration; a variable of the environment that is set goes before it."""
    return f"{text} in {_SETTINGS}" + (f", unless {variable} is set: then there" if variable else "")


def _written(size_bytes: int) -> str:
    """As the configuration takes it, rounded up to a MiB."""
    return f"{size_bytes // GIB}GiB" if size_bytes % GIB == 0 else f"{mib(size_bytes)}MiB"
