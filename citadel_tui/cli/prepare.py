"""`citadel prepare`: models written as slabs before anybody asks for them, checked, or written again.

Needs no engine; one that runs is not disturbed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import assert_never

from citadel_tui.cli.catalog import models_of_catalog
from citadel_tui.cli.engine import our_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.text import clean
from citadel_tui.words.figures import seconds_text
from engine.api import UnknownModel
from engine.core.model_names import model_meant, unknown_model
from engine.core.models import ModelSpec
from engine.core.names import ModelName
from engine.core.preparation import (
    Building,
    Built,
    Checking,
    Depth,
    Kept,
    NotPrepared,
    Order,
    PrepareNews,
    PrepareOutcome,
)
from engine.core.sizes import format_size
from engine.paths import make_folders
from engine.prepare import preparing


class PrepareArguments(Arguments, frozen=True, kw_only=True):
    models: Sequence[ModelName]
    depth: Depth


def add_arguments(command: CommandParser) -> None:
    command.add_argument("models", nargs="*", metavar="MODEL", help="all of the catalog when left out")
    depth = command.add_mutually_exclusive_group()
    depth.add_argument(
        "--check",
        action="store_const",
        dest="depth",
        const="checksum",
        help="compare the checksums of slab and source; a damaged slab, or one whose source has changed, is built again",
    )
    depth.add_argument(
        "--again", action="store_const", dest="depth", const="nothing", help="build it again, whatever is there"
    )
    command.set_defaults(depth="sizes")
    command.carried_out_by(run, PrepareArguments)


def run(arguments: PrepareArguments) -> int:
    return prepared(_chosen(models_of_catalog(arguments.config), arguments.models), arguments.depth)


def prepared(models: Sequence[ModelSpec], depth: Depth = "sizes") -> Exit:
    """Prepare them, and say of each what became of it."""
    paths = our_paths()
    make_folders(paths)
    try:
        complete = _carried_out(Order(tuple(models), str(paths.cache), depth))
    except KeyboardInterrupt:
        tell("interrupted; models that were done stay prepared, and nothing half-written is kept")
        return Exit.INTERRUPTED
    return Exit.DONE if complete else Exit.FAILED


def _carried_out(order: Order) -> bool:
    """Whether every model of the order is prepared now; says of each what became of it."""
    complete = True
    with preparing(order) as news:
        for _ in order.models:
            with progress() as show:
                outcome = _outcome(news, show)
            _say(outcome)
            complete &= not isinstance(outcome, NotPrepared)
    return complete


def _chosen(models: Sequence[ModelSpec], names: Sequence[ModelName]) -> tuple[ModelSpec, ...]:
    """In the order of the names; all models when none is named. Raises UnknownModel."""
    known = {model.name: model for model in models}
    meant = {name: model_meant(known, name) for name in names}
    for name, model in meant.items():
        if model is None:
            raise UnknownModel(unknown_model(known, name))
    return tuple(known[model] for model in meant.values() if model) if names else tuple(models)


def _outcome(news: Iterator[PrepareNews], show: Callable[[str], None]) -> PrepareOutcome:
    """What becomes of the next model, its progress shown meanwhile."""
    for item in news:
        match item:
            case Checking(model, done):
                show(f"{model}: checking, {done:.0%}")
            case Building(model, done):
                show(f"{model}: writing its slab, {done:.0%}" if done else f"{model}: loading its checkpoint …")
            case Kept() | Built() | NotPrepared():
                return item
            case _:
                assert_never(item)
    raise AssertionError("the process that prepares has an outcome for every model, or breaks")


def _say(outcome: PrepareOutcome) -> None:
    match outcome:
        case Kept(model, size_bytes, "source"):
            print(
                f"{clean(model)}: its checksum is right, and its source is what it was made of, {format_size(size_bytes)}"
            )
        case Kept(model, size_bytes, "checksum"):
            print(
                f"{clean(model)}: its checksum is right; its source is not here to compare, {format_size(size_bytes)}"
            )
        case Kept(model, size_bytes, "sizes"):
            print(f"{clean(model)}: prepared already, {format_size(size_bytes)}")
        case Built(model, size_bytes, took_s, damage, dtype, matrices):
            if damage:
                tell(f"{model}: {damage}; it was built again")
            smaller = f", {matrices} matrices in {dtype}" if matrices else ""
            print(f"{clean(model)}: prepared, {format_size(size_bytes)}{smaller} in {seconds_text(took_s)}")
        case NotPrepared(model, reason):
            tell(f"{model} is not prepared: {reason}")
