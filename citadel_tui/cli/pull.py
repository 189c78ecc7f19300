"""`citadel pull REPO`: fetches a model from the hub into the Hugging Face cache, and prepares it where the catalog has it.

Needs no engine. The fetching is done by a process of its own, the only one that asks the network.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from citadel_tui.cli.catalog import models_of_catalog
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.models import OwnSource, add_model, add_naming
from citadel_tui.cli.output import progress, tell
from citadel_tui.cli.parser import CommandParser
from citadel_tui.cli.prepare import prepared
from citadel_tui.text import clean
from citadel_tui.words.pulling import PullProgress
from engine.api import EngineError
from engine.core.models import ModelSpec
from engine.core.pulling import NotPulled, PullCut, Pulled, PullOrder
from engine.core.sizes import format_size
from engine.pull import Pulling, order_of, pull_source


class PullArguments(OwnSource, frozen=True, kw_only=True):
    add: bool


def add_arguments(command: CommandParser) -> None:
    command.add_argument("source", metavar="REPO[@REVISION]", help="as the hub names it, such as intfloat/e5-small-v2")
    command.add_argument("--add", action="store_true", help="put it into the catalog, too")
    add_naming(command)
    command.carried_out_by(run, PullArguments)


def run(arguments: PullArguments) -> int:
    order = order_of(arguments.source)
    try:
        pulled = _fetched(order)
    except KeyboardInterrupt:
        tell(f"interrupted; what came is kept, and `citadel pull {arguments.source}` goes on with it")
        return Exit.INTERRUPTED
    print(clean(f"{order.repository}: {format_size(pulled.size_bytes)} in {pulled.folder}"))
    if arguments.add:
        asyncio.run(add_model(arguments, pull_source(order)))
    return _prepare(arguments.config, order)


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


def _prepare(config: Path | None, order: PullOrder) -> Exit:
    """Have those of the catalog prepared that come from there."""
    models = [model for model in models_of_catalog(config) if _is_of(model, order)]
    if models:
        return prepared(models)
    tell(f"the catalog has no model from there; add it with: citadel models add {pull_source(order)}")
    return Exit.DONE


def _is_of(model: ModelSpec, order: PullOrder) -> bool:
    return f"hub:{order.repository}" in model.sources and model.revision == order.revision
