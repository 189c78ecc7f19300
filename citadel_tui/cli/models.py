"""`citadel models list`: the catalog, as the engine sees it."""

from __future__ import annotations

import asyncio
from argparse import Namespace

from citadel_tui.cli.engine import at_hand
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import table
from citadel_tui.words.figures import mib_text
from citadel_tui.words.labels import model_label
from engine.core.models import Footprint
from engine.core.sizes import mib_range
from engine.core.state import ModelState


def run(arguments: Namespace) -> int:
    return asyncio.run(_models(arguments))


async def _models(arguments: Namespace) -> Exit:
    async with at_hand(arguments) as engine:
        models = (await engine.snapshot()).state.models.values()
    headings = ["MODEL", "TASK", "DTYPE", "WEIGHTS MiB", "WORKSPACE MiB", "FOOTPRINT", "SOURCE", "TROUBLE"]
    print(table(headings, [_cells(model) for model in models], right=("WEIGHTS MiB", "WORKSPACE MiB")))
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
        model.source or "-",
        model.trouble or "-",
    ]
