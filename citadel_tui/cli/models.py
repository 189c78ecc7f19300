"""`citadel models [list|make]`: the catalog, as the engine sees it; and synthetic models for it.

Those are written by a process of their own, since that one needs torch.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from citadel_tui.cli.catalog import models_of_catalog
from citadel_tui.cli.engine import at_hand, our_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import table, tell
from citadel_tui.cli.parser import Arguments, CommandParser, add_command
from citadel_tui.text import clean
from citadel_tui.words.figures import mib_text
from citadel_tui.words.labels import model_label
from citadel_tui.words.setup import no_models_text
from engine.core.models import Footprint
from engine.core.sizes import mib_range
from engine.core.state import ModelState
from engine.libraries import check_libraries
from engine.paths import make_folders


class MakeArguments(Arguments, frozen=True, kw_only=True):
    kinds: Sequence[str]


def add_arguments(command: CommandParser) -> None:
    actions = command.add_subparsers(title="commands", metavar="COMMAND", dest="action")
    add_command(actions, "list", "what the engine knows of each model", _add_list)
    add_command(actions, "make", "make synthetic models: real shapes, random weights", _add_make)
    _add_list(command)  # without a further word


def _add_list(command: CommandParser) -> None:
    command.carried_out_by(_list, Arguments)


def _add_make(command: CommandParser) -> None:
    command.add_argument("kinds", nargs="*", metavar="KIND", help="those of the catalog when left out")
    command.carried_out_by(_make, MakeArguments)


def _list(arguments: Arguments) -> int:
    return asyncio.run(_listed(arguments))


async def _listed(arguments: Arguments) -> Exit:
    async with at_hand(arguments) as engine:
        models = (await engine.snapshot()).state.models.values()
        config = (await engine.hello()).config
    if not models:
        tell(no_models_text(config))
        return Exit.DONE
    headings = ["MODEL", "TASK", "DTYPE", "WEIGHTS MiB", "WORKSPACE MiB", "FOOTPRINT", "LIMIT", "SOURCE", "TROUBLE"]
    print(table(headings, [_cells(model) for model in models], right=("WEIGHTS MiB", "WORKSPACE MiB", "LIMIT")))
    for model in models:
        if model.remark:
            print(clean(model.remark))
    return Exit.DONE


def _how_known(footprint: Footprint) -> str:
    """The label, and what measured runs needed with the weights."""
    return footprint.label + (f", runs {mib_range(*footprint.run_bytes)}" if footprint.run_bytes else "")


def _cells(model: ModelState) -> list[str]:
    spec, footprint = model.spec, model.footprint
    return [
        model_label(spec.name, synthetic=model.synthetic),
        spec.task,
        spec.dtype,
        mib_text(footprint.weights_bytes),
        mib_text(footprint.workspace_bytes),
        _how_known(footprint),
        f"{spec.limits.max_batch}x{spec.limits.max_sequence}" if not model.trouble else "-",
        model.source or "-",
        model.trouble or "-",
    ]


def _make(arguments: MakeArguments) -> int:
    kinds = list(arguments.kinds) or _kinds_of_catalog(arguments.config)
    if not kinds:
        tell("no model of the catalog has a synthetic source; name a kind")
        return Exit.FAILED
    check_libraries()
    paths = our_paths()
    make_folders(paths)
    tell(f"making {', '.join(kinds)} in {paths.cache} …")
    program = [sys.executable, "-P", "-m", "engine.worker.synthetic", str(paths.cache), *kinds]
    return subprocess.run(program, check=False).returncode


def _kinds_of_catalog(config: Path | None) -> list[str]:
    sources = [source for model in models_of_catalog(config) for source in model.sources]
    return [source.removeprefix("synthetic:") for source in sources if source.startswith("synthetic:")]
