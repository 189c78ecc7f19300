"""`citadel prepare` and `citadel pull`: models written as slabs before anybody asks for them, checked, or written again; and
fetched from the hub before that.

Neither needs an engine; one that runs is not disturbed. The fetching is done by a process of its own, the only one that asks the
network.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import assert_never

from citadel_tui.cli.catalog import models_of_catalog
from citadel_tui.cli.engine import folder_in_use, our_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.models import OwnSource, add_model, add_naming, check_own_catalog, says_anything
from citadel_tui.cli.output import progress, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.text import clean
from citadel_tui.words.figures import seconds_text
from citadel_tui.words.pulling import PullProgress
from engine.api import EngineError, UnknownModel
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
from engine.core.pulling import NotPulled, PullCut, Pulled, PullOrder
from engine.core.sizes import format_size
from engine.paths import make_folders
from engine.prepare import preparing
from engine.pull import Pulling, order_of, pull_source


class PrepareArguments(Arguments, frozen=True, kw_only=True):
    models: Sequence[ModelName]
    depth: Depth


class PullArguments(OwnSource, frozen=True, kw_only=True):
    add: bool


def add_arguments(command: CommandParser) -> None:
    if command.name == "pull":
        _add_pull(command)
        return
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


def _add_pull(command: CommandParser) -> None:
    command.add_argument("source", metavar="REPO[@REVISION]", help="as the hub names it, such as intfloat/e5-small-v2")
    command.add_argument("--add", action="store_true", help="put it into the catalog, too")
    add_naming(command)
    command.carried_out_by(_pull, PullArguments)


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


# ── from the hub ─────────────────────────────────────────────────────────────────────────────────


def _pull(arguments: PullArguments) -> int:
    order = order_of(arguments.source)
    if not arguments.add and says_anything(arguments):
        tell("a name, a task and the like are for a model that is added: say --add, too")
        return Exit.NO_ENGINE
    if arguments.add:
        asyncio.run(check_own_catalog(arguments))
    try:
        pulled = _fetched(order)
    except KeyboardInterrupt:
        tell(f"interrupted; what came is kept, and `citadel pull {arguments.source}` goes on with it")
        return Exit.INTERRUPTED
    print(clean(f"{order.repository}: {format_size(pulled.size_bytes)} in {pulled.folder}"))
    if arguments.add:
        asyncio.run(add_model(arguments, pull_source(order)))
    return _prepare_those_of(asyncio.run(folder_in_use(arguments)), order)


def _fetched(order: PullOrder) -> Pulled:
    """Raises EngineError, with what is wrong."""
    told = PullProgress(order.repository)
    with Pulling(order) as news, progress() as show:
        show(f"{order.repository}: asking the hub …")
        for item in news:
            match item:
                case Pulled():
                    return item
                case NotPulled(reason):
                    raise EngineError(f"{reason}; nothing that has come is lost")
                case _:
                    line = told.hear(item, time.monotonic())
                    show(line)
                    if isinstance(item, PullCut):
                        tell(line)
    raise AssertionError("the process that fetches has an outcome, or breaks")


def _prepare_those_of(config: Path | None, order: PullOrder) -> Exit:
    """Have those of the catalog prepared that come from there. No catalog is none of a model's business."""
    try:
        models = [model for model in models_of_catalog(config) if _is_of(model, order)]
    except EngineError as error:
        tell(f"it was fetched, and nothing is prepared: {error}")
        return Exit.DONE
    if models:
        return prepared(models)
    tell(f"the catalog has no model from there; add it with: citadel models add {pull_source(order)}")
    return Exit.DONE


def _is_of(model: ModelSpec, order: PullOrder) -> bool:
    return f"hub:{order.repository}" in model.sources and model.revision == order.revision
